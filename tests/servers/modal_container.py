"""Calls really carried out: by the functions of gpu_ops.modal_app, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from modal_proto import api_pb2

from tests.servers.modal_server import Behaviour, Call

ROOT = Path(__file__).parent.parent.parent
SCRIPT = """
import json, sys
from pathlib import Path
from gpu_ops import modal_app
outcome = getattr(modal_app, sys.argv[1]).local(json.load(sys.stdin))
Path(sys.argv[2]).write_text(json.dumps(outcome))
"""


def container(secrets: Mapping[str, str]) -> Behaviour:
    """Carries calls out in processes whose environment is what Modal's secrets hold, and nothing else."""

    def carry_out(call: Call) -> None:
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "result.json"
            process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, call.function, result],
                cwd=ROOT,
                env={"PATH": "", "HOME": folder, "CAPTIONACC_THREADS": "2", **secrets},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert process.stdin
            assert process.stdout
            assert process.stderr
            with process.stdin:
                json.dump(call.order, process.stdin)
            errors = threading.Thread(target=_pass_on, args=(call, process.stderr))
            errors.start()
            watch = threading.Thread(target=_end_with, args=(call, process))
            watch.start()
            for line in process.stdout:
                call.says(line)
            code = process.wait()
            errors.join()
            if code == 0:
                call.returns(json.loads(result.read_text()))
            else:
                call.ends("FAILURE", f"the container ended with exit code {code}")
            watch.join()

    return carry_out


def _pass_on(call: Call, errors: IO[str]) -> None:
    for line in errors:
        call.says(line, api_pb2.FILE_DESCRIPTOR_STDERR)


def _end_with(call: Call, process: subprocess.Popen[str]) -> None:
    """Kill the process as soon as its call is cancelled."""
    while process.poll() is None:
        if call.ended.wait(0.1):
            process.kill()
            return
