"""Whether the server that `captionacc serve` runs on this machine works: for a container's health check.

Asks as a user would, over the wire, and loads Dagster only where there is no web server to ask.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from captionacc_dagster.doctor.finding import Finding
from captionacc_dagster.doctor.machine import HEARTBEAT_TOLERANCE_S
from captionacc_dagster.serve import SERVING
from captionacc_dagster.settings import Settings

PATIENCE_S = 10.0
# The daemons without which videos would wait: they start runs, retry them and look at the catalog.
NEEDED = ("QUEUED_RUN_COORDINATOR", "EVENT_LOG_CONSUMER", "SENSOR", "SCHEDULER")
HEARTBEATS = "{ instance { daemonHealth { allDaemonStatuses { daemonType lastHeartbeatTime } } } }"
RESTART = "Restart the server; what it was doing goes on."


def examine_server(settings: Settings) -> list[Finding]:
    """One finding for each part of the server."""
    try:
        serving = json.loads((settings.dagster_home / SERVING).read_text())
    except FileNotFoundError:
        nothing = f"none was started for {settings.dagster_home}"
        return [Finding("server", "missing", nothing, "Start it with captionacc serve.")]
    return [*_code_server(serving["code_socket"]), *_daemon(settings, serving["web"])]


def _code_server(path: str) -> Iterator[Finding]:
    with grpc.insecure_channel(f"unix:{path}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(service="DagsterApi"), timeout=PATIENCE_S)
        except grpc.RpcError as error:
            yield Finding("code server", "missing", f"does not answer: {error.code().name}", RESTART)
            return
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        yield Finding("code server", "ok", "the definitions are loaded")
    else:
        yield Finding("code server", "missing", "does not serve", RESTART)


def _daemon(settings: Settings, web: str | None) -> Iterator[Finding]:
    if web is None:
        beats = _beats_from_storage(settings)
    else:
        try:
            beats = _beats_from_web(web)
        except OSError as error:
            yield Finding("web server", "missing", f"{web} does not answer: {error}", RESTART)
            return
        yield Finding("web server", "ok", web)
    now = time.time()
    late = [name for name in NEEDED if now - beats.get(name, 0) > HEARTBEAT_TOLERANCE_S]
    if late:
        yield Finding("daemon", "missing", f"no heartbeat: {', '.join(late).lower()}", RESTART)
    else:
        yield Finding("daemon", "ok", f"running: {', '.join(NEEDED).lower()}")


def _beats_from_web(web: str) -> Mapping[str, float]:
    body = json.dumps({"query": HEARTBEATS}).encode()
    request = urllib.request.Request(f"{web}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
        answer: dict[str, Any] = json.load(reply)
    statuses = answer["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
    return {each["daemonType"]: each["lastHeartbeatTime"] or 0 for each in statuses}


def _beats_from_storage(settings: Settings) -> Mapping[str, float]:
    from captionacc_dagster.instance import open_instance  # noqa: PLC0415

    with open_instance(settings) as instance:
        return {name: beat.timestamp for name, beat in instance.get_daemon_heartbeats().items()}
