"""The cancel token: set once, seen by everyone, for ever."""

from __future__ import annotations

import os
import select
import signal
import threading

from tasks.cancel import CancelToken
from tests.support.crypto_fakes import descriptors


def readable(token: CancelToken) -> bool:
    return bool(select.select([token.fileno()], [], [], 0)[0])


def test_a_new_token_is_not_set() -> None:
    """Nothing is cancelled until someone asks for it."""
    token = CancelToken()
    assert not token.cancelled
    assert not readable(token)


def test_a_set_token_stays_set_for_everyone() -> None:
    """However often it is set and polled, it stays readable."""
    token = CancelToken()
    for _ in range(3):
        token.cancel()
        assert all(readable(token) for _ in range(3))
        assert token.cancelled


def test_another_thread_wakes_the_poller() -> None:
    """A poll that waits ends when another thread cancels."""
    token = CancelToken()
    timer = threading.Timer(0.05, token.cancel)
    timer.start()
    assert select.select([token.fileno()], [], [], 60)[0]
    timer.join()


def test_a_signal_handler_may_cancel() -> None:
    """A token can be set from a signal handler."""
    token = CancelToken()
    before = signal.signal(signal.SIGUSR1, lambda *_: token.cancel())
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert select.select([token.fileno()], [], [], 60)[0]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_children_do_not_inherit_it() -> None:
    """The descriptor is closed on exec."""
    assert not os.get_inheritable(CancelToken().fileno())


def test_a_dropped_token_closes_its_descriptor() -> None:
    """Tokens that nobody holds leave no descriptor."""
    before = descriptors()
    for _ in range(10):
        CancelToken()
    assert descriptors() == before
