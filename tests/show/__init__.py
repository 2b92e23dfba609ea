"""Tests of `flows.show`."""
