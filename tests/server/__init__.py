"""Tests of what a server is needed for: flows, `serve`, workers, the UI, `explore`."""
