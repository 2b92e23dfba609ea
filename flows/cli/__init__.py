"""The command line. Nothing here imports Prefect before a command needs it.

Engines, statistics and the record are loaded late, so that a command line is refused before.
"""
