"""The jobs: the order plan → batches → record, without Prefect. What runs a batch and who is told are parameters."""
