"""Cancelling: one descriptor that every chain polls beside its children."""

from __future__ import annotations

import os


class CancelToken:
    """Set once, from any thread or signal handler; readable for ever after.

    An event descriptor that nobody reads: however many chains poll it, each sees it.
    """

    def __init__(self) -> None:
        self._set = False
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._descriptor

    def cancel(self) -> None:
        """Ask everything that polls this to end."""
        self._set = True
        os.eventfd_write(self._descriptor, 1)

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._set

    def is_set(self) -> bool:
        """The same, under the name that `threading.Event` has for it."""
        return self._set

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)
