"""Reads of how well the objects of a vault are proven, all taken together."""

from __future__ import annotations

from sqlalchemy import select

from db.history.proofs import Proofs, known_objects
from db.models import Vault
from db.rows import ProofTotalsRow


class ProofTotals(Proofs):
    """Objects of vaults, added up."""

    def proof_totals(self, vault_id: str) -> ProofTotalsRow:
        """All objects that `proofs` would list of a vault, in constant memory."""
        objects = never = 0
        oldest = None
        if self.empty:
            return ProofTotalsRow(objects, never, oldest)
        with self._reading() as connection:
            query = select(Vault.id, Vault.vault_id, Vault.path).where(Vault.vault_id == vault_id)
            for vault in connection.execute(query).all():
                for one in known_objects(connection, vault):
                    objects += 1
                    if one.proven_at is None:
                        never += 1
                    elif oldest is None or one.proven_at < oldest:
                        oldest = one.proven_at
        return ProofTotalsRow(objects, never, oldest)
