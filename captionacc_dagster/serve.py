"""The control plane as a server: code server, daemon and web server, each a process, under one supervisor.

Dagster is loaded once and the three are forked from it, so that they share the memory of its code (as
gunicorn's --preload does). Then the loader becomes the supervisor, which needs next to none.
Run as `python -m captionacc_dagster.serve`; the module stays light, as every run's process imports it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import NoReturn

DEFINITIONS = "captionacc_dagster.definitions"
LOCATION = "captionacc"
# In DAGSTER_HOME: where the parts of the running server are to be found.
SERVING = "serving.json"

# What the three have in common, and what each loads only when it first needs it.
SHARED = ("dagster._grpc.server", "dagster._daemon.daemon")
SHARED_WITH_WEB = (*SHARED, "dagster_webserver.app")

# Loading the definitions takes seconds; a database of production that sleeps, some more.
START_SECONDS = 180.0


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Start everything, then become the supervisor."""
    options = _options(arguments)
    # Until the supervisor waits for them, signals stay pending; a mask outlives exec.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD))
    serving = Path(os.environ["DAGSTER_HOME"]) / SERVING
    serving.unlink(missing_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="captionacc-"))  # a socket's path may have 107 characters
    code_socket, workspace = scratch / "code.sock", scratch / "workspace.yaml"
    grpc_server = {"socket": str(code_socket), "location_name": LOCATION}
    workspace.write_text(json.dumps({"load_from": [{"grpc_server": grpc_server}]}))

    commands = {
        name: next(iter(entry_points(group="console_scripts", name=name))).load()
        for name in ("dagster", "dagster-daemon", "dagster-webserver")
    }
    for module in (*(SHARED_WITH_WEB if options.web else SHARED), options.definitions):
        import_module(module)
    gc.collect()
    gc.freeze()  # the collector leaves what is shared alone, so that it stays shared

    def start(*command: object) -> int:
        name, *rest = map(str, command)

        def run() -> None:
            sys.argv = [name, *rest]
            commands[name]()

        return _fork(run)

    _finish(_fork(_end_lost_runs))
    code = ["api", "grpc", "--socket", code_socket, "-m", options.definitions, "--location-name", LOCATION]
    parts = {"code-server": start("dagster", *code)}
    _wait_for_code_server(parts["code-server"], code_socket)
    parts["daemon"] = start("dagster-daemon", "run", "-w", workspace)
    if options.web:
        listen = ["-h", options.host, "-p", options.port]
        parts["web-server"] = start("dagster-webserver", "-w", workspace, *listen)

    here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(options.host, options.host)
    web = f"http://{here}:{options.port}" if options.web else None
    serving.write_text(json.dumps({"web": web, "code_socket": str(code_socket)}))
    named = [f"{name}={pid}" for name, pid in parts.items()]
    os.execv(sys.executable, [sys.executable, "-m", "captionacc_dagster.supervise", str(scratch), *named])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="captionacc serve")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--no-webserver", dest="web", action="store_false")
    parser.add_argument("--definitions", default=DEFINITIONS)
    return parser.parse_args(arguments)


def _fork(run: Callable[[], None]) -> int:
    """Carry out `run` in a process group of its own; answers its process id."""
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        code = 1
        try:
            run()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return pid


def _finish(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        sys.exit(code if code > 0 else 1)


def _end_lost_runs() -> None:
    """In a process of its own, since the others must not inherit connections to the database."""
    from captionacc_dagster.instance import open_instance  # noqa: PLC0415
    from captionacc_dagster.runs import end_runs_of_former_server  # noqa: PLC0415
    from captionacc_dagster.settings import load_settings  # noqa: PLC0415

    with open_instance(load_settings()) as instance:
        ended = end_runs_of_former_server(instance)
    if ended:
        print(f"captionacc: {ended} runs of a server that is gone are ended; they are tried again.")


def _wait_for_code_server(pid: int, path: Path) -> None:
    """It listens once the definitions are loaded; the others complain about one that does not."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            return
        if os.waitpid(pid, os.WNOHANG)[0]:
            sys.exit("captionacc: the code server ended before it was ready; its last words stand above.")
        time.sleep(0.05)
    os.killpg(pid, signal.SIGKILL)
    sys.exit(f"captionacc: the definitions were not loaded within {START_SECONDS:.0f} seconds.")


if __name__ == "__main__":
    main()
