"""The compute functions in a process of their own: `python -m gpu_ops.worker`, started by the control plane.

A separate process keeps pixels, native crashes and memory away from the run that orders the work. The
order arrives and progress, log lines and the answer leave through Dagster Pipes. The process lives only
as long as the one that started it: standard input is a pipe nobody writes to, and its end means the parent
is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from dagster_pipes import open_dagster_pipes

from gpu_ops.orders import carry_out


def end_with_parent() -> None:
    """Kill this process and its children as soon as the parent is gone, however it died."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def main() -> None:
    end_with_parent()
    with open_dagster_pipes() as pipes:
        pipes.report_custom_message(carry_out(pipes.extras, pipes.report_custom_message))
    # Native threads of a decoder must not keep a finished process alive.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
