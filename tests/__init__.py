"""Tests, flat: one file per module."""
