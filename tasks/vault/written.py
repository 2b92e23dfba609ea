"""A snapshot on its way into its file."""

from __future__ import annotations

from tasks.files import write_all
from tasks.vault.errors import VaultError
from tasks.vault.lines import LONGEST_LINE, MAC_LINE_BYTES, encode_mac
from tasks.vault.snapshots import LARGEST_BYTES
from tasks.vault.vault import Vault


class Written:
    """Lines, a few KiB at a time, and their MAC; what the disk does not take is an OSError."""

    def __init__(self, descriptor: int, vault: Vault) -> None:
        self._descriptor = descriptor
        self._root = vault.root
        self._mac = vault.need_key().mac()
        self._held = bytearray()
        self._left = LARGEST_BYTES

    def put(self, line: bytes) -> None:
        """The next line; raises VaultError where there are more than a snapshot may have."""
        self._held += line
        if len(self._held) > LONGEST_LINE:
            self._flush()

    def end(self) -> str:
        """Write the MAC; its 64 hex digits."""
        self._flush()
        mac = self._mac.hexdigest()
        write_all(self._descriptor, encode_mac(mac))
        return mac

    def _flush(self) -> None:
        self._left -= len(self._held)
        if self._left < MAC_LINE_BYTES:
            raise VaultError(self._root, "so many entries are more than a snapshot may have; back up parts of them")
        self._mac.update(self._held)
        write_all(self._descriptor, bytes(self._held))
        self._held.clear()
