"""Pieces of a job that run beside each other, a bounded number at once."""

from __future__ import annotations

import functools
import queue
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import TypeVar

from flows.jobs.runner import Pending
from tasks.cancel import CancelToken

Item = TypeVar("Item")
T = TypeVar("T")


def side_by_side(
    items: Iterable[Item], start: Callable[[Item], Pending[T]], workers: int, cancel: CancelToken
) -> Generator[tuple[Item, T]]:
    """Start them one after the other, never more at once than there are workers; each with its outcome, as they end.

    To be closed (`contextlib.closing`) by one who may leave early: then, and when one of them raises, the token is set
    and all that were started are waited for.
    """
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    active: dict[int, tuple[Item, Pending[T]]] = {}

    def take_one() -> tuple[Item, T]:
        item, pending = active.pop(ended.get())
        return item, pending.result()

    try:
        coming = enumerate(items)
        while True:
            # Asked for only now: what there still is to do may depend on what has been done.
            number, item = next(coming, (-1, None))
            if item is None:
                break
            active[number] = item, start(item)
            active[number][1].add_done_callback(functools.partial(_put, ended, number))
            if len(active) == workers:
                yield take_one()
        while active:
            yield take_one()
    except BaseException:
        cancel.cancel()
        for _, pending in active.values():
            # What was done by then is being recorded; the error that is on its way is the one to tell.
            with suppress(Exception):
                pending.result()
        raise


def _put(ended: queue.SimpleQueue[int], number: int, _: object) -> None:
    ended.put(number)
