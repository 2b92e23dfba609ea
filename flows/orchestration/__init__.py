"""Jobs as Prefect flows: everything that imports Prefect, but for the flows and tasks themselves."""
