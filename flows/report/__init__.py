"""The report: what the record holds, as one HTML page or as markdown, with plots where matplotlib is installed."""
