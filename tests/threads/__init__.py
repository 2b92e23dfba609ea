"""Tests of `tasks.threads`."""
