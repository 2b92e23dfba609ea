"""The parent-death signal: what keeps a long stage from outliving threadmill after `kill -9`.

The kernel sends it when the *thread* that started the child ends, so `run_chain` starts and waits in one thread.
It has to be asked for in the child. A `preexec_fn` would do, but costs 11 ms a child and is unsafe in threads;
`setpriv` (util-linux) costs about 1.5 ms, a small Python about 15 ms.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys

# For hosts without setpriv. A parent that died before prctl ran would leave the child waiting for a signal that
# never comes, hence the look at the parent. -B: the wrapper must not write byte code, its writes are counted.
_WRAPPER = """
import ctypes, os, sys
ctypes.CDLL(None, use_errno=True).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def death_signal_argv() -> tuple[str, ...]:
    """What to put before an argv so that the program is killed when the thread that started it ends."""
    setpriv = shutil.which("setpriv")
    if setpriv is not None and _supports_death_signal(setpriv):
        return (setpriv, "--pdeathsig", "KILL")
    return (sys.executable, "-I", "-S", "-B", "-c", _WRAPPER, str(os.getpid()))


@functools.cache
def _supports_death_signal(setpriv: str) -> bool:
    """Not every setpriv has the option (BusyBox), so try it once per process."""
    try:
        tried = subprocess.run(
            [setpriv, "--pdeathsig", "KILL", "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0
