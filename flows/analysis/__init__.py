"""What the record allows to say about times: comparisons and steps, each with its interval. Imports no Prefect."""
