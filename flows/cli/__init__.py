"""The command line. Nothing here imports Prefect before a command needs it."""
