"""The jobs: the order plan → steps → record. Runner and reporter are arguments, so that nothing imports Prefect."""
