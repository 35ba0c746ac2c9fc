"""What `captionacc serve` becomes once its parts run: a small process that ends them together.

On SIGTERM the daemon and the web server may finish what they are doing. The runs under way are cut off as by
a crash of the machine, on purpose: a run that is told to stop counts as stopped by a person, while one that
is cut off is tried again by the next server and takes up its compute call where it stands.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

AWAITED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
GRACE_SECONDS = 10.0
# Runs are its children: it is not asked to stop, see above.
CUT_OFF = "code-server"


def main(arguments: Sequence[str]) -> int:
    """`arguments`: a folder to remove at the end, and the parts as name=pid, each leading a process group."""
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    scratch, *named = arguments
    parts = {name: int(pid) for name, pid in (part.split("=") for part in named)}
    groups = list(parts.values())
    ended = _wait(parts)
    if ended is not None:
        print(f"captionacc: the {ended} ended by itself; stopping.", file=sys.stderr, flush=True)
    _stop(parts)
    _signal(groups, signal.SIGKILL)
    while parts:
        signal.sigtimedwait(AWAITED, 1)
        _reap(parts)
    shutil.rmtree(scratch, ignore_errors=True)
    return 0 if ended is None else 1


def _wait(parts: dict[str, int]) -> str | None:
    """Until a signal asks to stop (None), or a part ends (its name)."""
    while not (ended := _reap(parts)):
        if signal.sigwait(AWAITED) != signal.SIGCHLD:
            return None
    return ended[0]


def _reap(parts: dict[str, int]) -> list[str]:
    """Collect every child that ended, orphans of a container included; answers and removes the parts."""
    names = {pid: name for name, pid in parts.items()}
    ended: list[str] = []
    with suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            if pid in names:
                ended.append(names[pid])
    for name in ended:
        del parts[name]
    return ended


def _stop(parts: dict[str, int]) -> None:
    """Ask the parts that may finish, and give them time to."""
    asked = {name: pid for name, pid in parts.items() if name != CUT_OFF}
    _signal(asked.values(), signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while asked.keys() & parts.keys() and (left := deadline - time.monotonic()) > 0:
        signal.sigtimedwait(AWAITED, left)
        _reap(parts)


def _signal(groups: Iterable[int], number: signal.Signals) -> None:
    for pid in groups:
        with suppress(ProcessLookupError):
            os.killpg(pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
