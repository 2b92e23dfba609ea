"""Measurements against the bare tools; `python -m benchmarks` runs them, README.md has what was reached."""
