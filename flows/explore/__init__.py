"""The record in a web browser: datasette on the live file, read-only, with descriptions and ready-made queries."""
