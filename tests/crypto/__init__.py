"""Tests of `tasks.crypto`."""
