"""End this process when the parent is gone, whatever either of them is doing.

The parent alone holds the write end of a pipe. Each measured process arms its own open file description of
the read end so that the kernel sends SIGKILL when the pipe hangs up. A thread that waits in `read` would do
too, but it would be one thread more in a program that measures threads, would have to be forked around, and
could not act while C code keeps the GIL; it remains only where the kernel's way is missing.
"""

import contextlib
import fcntl
import os
import select
import signal
import threading


class Lifeline:
    """The read end that this process holds, and that each of its forked workers must arm again."""

    def __init__(self) -> None:
        self.descriptor = -1

    def hold(self, descriptor: int) -> None:
        """Arm `descriptor`; returns at once, and never if the parent is gone already."""
        self.descriptor = descriptor
        try:
            arm(descriptor)
        except (OSError, AttributeError):
            threading.Thread(target=watch, args=(descriptor,), daemon=True).start()

    def hold_again(self) -> None:
        """Arm it for this process, just forked: owner and signal belong to a description, not to a copy."""
        self.hold(self.descriptor)


LIFELINE = Lifeline()


def arm(descriptor: int) -> None:
    """Make the kernel kill this process at end-of-file; OSError where /proc or F_SETSIG is missing."""
    own = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | os.O_ASYNC)
    # The signal comes with the hang-up only: one that came before the line above sends none.
    if select.select([own], [], [], 0)[0]:
        os.kill(os.getpid(), signal.SIGKILL)


def watch(descriptor: int) -> None:
    """The portable way: block until end-of-file, then end this process without clean-up."""
    with contextlib.suppress(OSError):
        os.read(descriptor, 1)
    os._exit(1)
