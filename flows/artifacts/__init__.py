"""What a run shows in Prefect's UI, under keys that are the same for every run of a flow: a version per run."""

from flows.artifacts.publishing import publish

__all__ = ["publish"]
