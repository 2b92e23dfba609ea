"""What `db.store` writes, by what it is; each function works within the transaction of its caller."""
