"""Tests, in folders like those of the product; `tests/support` is what they share.

They are packages below this one, so that pytest puts the folder above on `sys.path`: `tests.db` hides no `db`.
"""
