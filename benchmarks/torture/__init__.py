"""What a vault lives through: the table of docs/reliability.md, made anew by `make torture`."""
