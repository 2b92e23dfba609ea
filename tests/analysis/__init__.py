"""Tests of `flows.analysis`."""
