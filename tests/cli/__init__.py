"""Tests of `flows.cli`, as its users meet it."""
