"""An order becomes an answer or a failure, as data that any version of the other side can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gpu_ops.contract import FAILURES
from gpu_ops.orders import carry_out

IDS = {
    "tenant_id": "00000000-0000-0000-0000-000000000001",
    "video_id": "00000000-0000-0000-0000-000000000002",
}


def order(folder: Path, **request: Any) -> dict[str, Any]:
    return {
        "function": "verify_cropped_frames",
        "request": request,
        "store_url": folder.as_uri(),
        "ocr_engine": "rapid",
        "threads": 1,
    }


@pytest.mark.parametrize(
    ("request_data", "kind", "sentence"),
    [
        ({**IDS, "version": 1}, "MissingObject", "There is no object"),
        ({**IDS, "version": 1, "added_later": True}, "BadRequest", "make deploy-compute"),
        ({**IDS}, "BadRequest", "make deploy-compute"),
        ({**IDS, "tenant_id": "../..", "version": 1}, "ComputeError", "Unexpected InvalidId"),
    ],
)
def test_a_failure_is_data_with_its_kind_and_a_sentence(
    tmp_path: Path, request_data: dict[str, Any], kind: str, sentence: str
) -> None:
    outcome = carry_out(order(tmp_path, **request_data), lambda message: None)
    failure = json.loads(json.dumps(outcome))["failure"]
    assert failure["kind"] == kind
    assert kind in FAILURES
    assert sentence in failure["message"]


def test_what_nobody_expected_leaves_a_traceback(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []
    carry_out(order(tmp_path, **{**IDS, "tenant_id": "../..", "version": 1}), said.append)
    (message,) = said
    assert "Traceback" in message["log"]
