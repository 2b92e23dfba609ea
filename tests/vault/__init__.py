"""Tests of `tasks.vault`."""
