"""Tests of `flows.jobs`."""
