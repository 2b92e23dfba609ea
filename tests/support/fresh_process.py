"""A `Runner` that pickles each step and runs it in a process of its own, and the program of that process."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from db.store import Store
from flows.jobs.run import Here, Pending, Step, do_and_record

T = TypeVar("T")


class FreshProcessRunner:
    """Hands over nothing but the pickle of the step, the store and `Here`; the store and the token are made anew."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def plan(self, make: Callable[[], T]) -> T:
        """In this process: what is locked and open stays with the job."""
        return make()

    def start(
        self, step: Step[T], store: Store, run_id: int, here: Here, after: Pending[object] | None = None
    ) -> Future[T]:
        """Run it to its end at once."""
        del after
        self.names.append(step.name)
        ended = subprocess.run(
            [sys.executable, "-m", "tests.support.fresh_process"],
            input=pickle.dumps((step, store, run_id, here)),
            stdout=subprocess.PIPE,
            check=True,
        )
        future: Future[T] = Future()
        future.set_result(pickle.loads(ended.stdout))  # noqa: S301 - our own child wrote it
        return future


if __name__ == "__main__":
    result = do_and_record(*pickle.loads(sys.stdin.buffer.read()))  # noqa: S301 - our own parent wrote it
    sys.stdout.buffer.write(pickle.dumps(result))
