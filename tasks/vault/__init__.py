"""The vault: a folder of ciphertext objects, and authenticated snapshots that list them (docs/vault-format.md)."""
