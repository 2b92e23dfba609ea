"""The work: engines in sub-packages, and beside them Prefect's tasks, rows for the record, and files."""
