"""The vault: a folder of ciphertext objects, and authenticated snapshots of what they are (docs/vault-format.md)."""
