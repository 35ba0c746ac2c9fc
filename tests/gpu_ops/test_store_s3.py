"""The bucket keeps its promises over a bad line, and says what to do where it cannot.

Every test speaks HTTP to a real endpoint, most of them through a proxy that breaks exchanges on order.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from gpu_ops.contract import MissingObject, StoreRefused, StoreUnavailable
from gpu_ops.s3 import ACCESS_VARIABLES, Patience, S3Access
from gpu_ops.store import PART_BYTES, PARTS_AT_ONCE, ObjectStore
from tests.servers.s3 import Cut, FaultyProxy, Refusal, S3Server

# As in production, but for the waiting.
QUICK = Patience(connect_s=2, silence_s=1, retries=3)
KEY = "folder/object.bin"

INTERNAL_ERROR = Refusal(500, "InternalError")
SLOW_DOWN = Refusal(503, "SlowDown")
RESET = Cut("request", after=0)
NO_REPLY = Cut("reply")
STALL = Cut("reply", stalls=True)
FAULTS = [INTERNAL_ERROR, SLOW_DOWN, RESET, NO_REPLY, STALL]


@pytest.fixture
def bucket(s3: S3Server) -> str:
    return s3.make_bucket(f"test-{uuid.uuid4()}")


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(s3)
    yield proxy
    proxy.close()


@pytest.fixture
def store(proxy: FaultyProxy, bucket: str) -> ObjectStore:
    return ObjectStore.open(f"s3://{bucket}", proxy.access, patience=QUICK)


@pytest.fixture
def direct(s3: S3Server, bucket: str) -> ObjectStore:
    """The same bucket over a good line."""
    return ObjectStore.open(f"s3://{bucket}", s3.access, patience=QUICK)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A file of two parts."""
    path = tmp_path / "film"
    path.write_bytes(os.urandom(PART_BYTES + 1000))
    return path


def unfinished_uploads(s3: S3Server, bucket: str) -> list[Any]:
    return s3.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])


def start_transfer(access: S3Access, bucket: str, code: str) -> subprocess.Popen[bytes]:
    """Run `code` in a process of its own, where `store` is the bucket as the environment names it."""
    # A shell that runs the tests in the background has its children ignore Ctrl-C.
    script = f"""
import signal
from pathlib import Path
from gpu_ops.store import ObjectStore
signal.signal(signal.SIGINT, signal.default_int_handler)
store = ObjectStore.from_environment()
{code}"""
    variables = {"WASABI_BUCKET": bucket}
    variables |= {ACCESS_VARIABLES[name]: value for name, value in dataclasses.asdict(access).items()}
    return subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, **variables}, stdout=subprocess.PIPE
    )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_costs_a_small_object_nothing(
    store: ObjectStore, direct: ObjectStore, proxy: FaultyProxy, fault: Refusal | Cut
) -> None:
    proxy.commit("PUT", fault)
    store.put(KEY, b"content")
    assert direct.get(KEY) == b"content"
    proxy.commit("GET", fault)
    assert store.get(KEY) == b"content"
    proxy.commit("HEAD", fault)
    assert store.head(KEY) is not None
    proxy.commit("GET", fault)
    assert [info.key for info in store.list("folder")] == [KEY]
    proxy.commit("POST", fault)
    store.delete([KEY])
    assert direct.head(KEY) is None


@pytest.mark.parametrize("fault", [*FAULTS, Cut("request", after=PART_BYTES // 2)], ids=str)
@pytest.mark.parametrize("step", ["begin", "part", "complete"])
def test_a_fault_costs_an_upload_nothing(
    store: ObjectStore, direct: ObjectStore, proxy: FaultyProxy, film: Path, fault: Refusal | Cut, step: str
) -> None:
    proxy.commit({"begin": "POST ?uploads", "part": "PUT", "complete": "POST ?uploadId"}[step], fault)
    store.upload(film, KEY)
    assert direct.get(KEY) == film.read_bytes()


@pytest.mark.parametrize(
    "fault",
    [*FAULTS, Cut("reply", after=PART_BYTES // 2), Cut("reply", after=PART_BYTES // 2, stalls=True)],
    ids=str,
)
def test_a_fault_costs_a_download_nothing(
    store: ObjectStore, direct: ObjectStore, proxy: FaultyProxy, film: Path, fault: Refusal | Cut
) -> None:
    direct.upload(film, KEY)
    proxy.commit("GET", fault, fault)
    store.download(KEY, film.with_name("copy"))
    assert film.with_name("copy").read_bytes() == film.read_bytes()
    assert {path.name for path in film.parent.iterdir()} == {"film", "copy"}


def test_a_bad_line_is_given_up_after_a_few_tries(
    store: ObjectStore, proxy: FaultyProxy, bucket: str, tmp_path: Path
) -> None:
    uses: list[Callable[[], Any]] = [
        lambda: store.get(KEY),
        lambda: store.put(KEY, b""),
        lambda: store.head(KEY),
        lambda: list(store.list("folder")),
        lambda: store.download(KEY, tmp_path / "copy"),
    ]
    for use in uses:
        for method in ("GET", "PUT", "HEAD"):
            proxy.commit(method, *[SLOW_DOWN] * (QUICK.retries + 1))
        proxy.requests.clear()
        with pytest.raises(StoreUnavailable, match=r"503 \(SlowDown\)|answering 503"):
            use()
        assert len(proxy.requests) == QUICK.retries + 1
        proxy.forgive()


def test_an_upload_that_is_given_up_leaves_nothing(
    store: ObjectStore, direct: ObjectStore, proxy: FaultyProxy, s3: S3Server, bucket: str, film: Path
) -> None:
    direct.put(KEY, b"the object before")
    proxy.commit("PUT", *[INTERNAL_ERROR] * 100)
    with pytest.raises(StoreUnavailable):
        store.upload(film, KEY)
    assert direct.get(KEY) == b"the object before"
    assert unfinished_uploads(s3, bucket) == []


def test_a_download_that_is_given_up_leaves_nothing(
    store: ObjectStore, direct: ObjectStore, proxy: FaultyProxy, film: Path
) -> None:
    direct.upload(film, KEY)
    proxy.commit("GET", *[Cut("reply", after=0)] * 100)
    with pytest.raises(StoreUnavailable, match="broke the connection"):
        store.download(KEY, film.with_name("copy"))
    assert [path.name for path in film.parent.iterdir()] == ["film"]


def test_a_download_does_not_mix_two_versions_of_an_object(
    store: ObjectStore, direct: ObjectStore, proxy: FaultyProxy, film: Path
) -> None:
    direct.upload(film, KEY)
    proxy.meanwhile = lambda request: direct.put(KEY, b"newer") if request.startswith("GET") else None
    with pytest.raises(StoreUnavailable, match="412"):
        store.download(KEY, film.with_name("copy"))
    assert not film.with_name("copy").exists()


@pytest.mark.parametrize(("how", "left"), [(signal.SIGINT, 0), (signal.SIGKILL, 1)], ids=["ctrl-c", "kill"])
def test_an_upload_whose_process_is_stopped_shows_nothing(
    proxy: FaultyProxy, direct: ObjectStore, s3: S3Server, bucket: str, film: Path, how: int, left: int
) -> None:
    os.truncate(film, 12 * PART_BYTES)
    proxy.delay_s = 0.5
    signalled = Event()
    proxy.meanwhile = lambda request: signalled.wait(20) if "partNumber" in request else None
    process = start_transfer(proxy.access, bucket, f"store.upload(Path({str(film)!r}), {KEY!r})")
    wait_until(lambda: any("partNumber" in request for request in proxy.requests))
    process.send_signal(how)
    signalled.set()
    assert process.wait(20) != 0
    assert not any("partNumber=12" in request for request in proxy.requests)
    assert direct.head(KEY) is None
    # A killed process cannot tidy up: a rule of the bucket ends such uploads.
    assert len(unfinished_uploads(s3, bucket)) == left


def test_a_large_file_travels_in_little_memory(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    film, copy, size = tmp_path / "film", tmp_path / "copy", 160 << 20
    film.write_bytes(b"")
    os.truncate(film, size)
    process = start_transfer(
        s3.access,
        bucket,
        f"""
def peak_kib():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak_kib()
store.upload(Path({str(film)!r}), "film")
uploaded = peak_kib()
store.download("film", Path({str(copy)!r}))
print(uploaded - before, peak_kib() - before)
""",
    )
    assert process.stdout is not None
    upload_kib, both_kib = map(int, process.stdout.read().split())
    assert process.wait() == 0
    assert copy.stat().st_size == size
    print(
        f"{upload_kib >> 10} MiB more for uploading {size >> 20} MiB, {both_kib >> 10} MiB with downloading"
    )
    assert both_kib < 3 * PARTS_AT_ONCE * PART_BYTES >> 10


SECRET = "a-secret-key-that-no-message-may-show"
READ, WRITE, DELETE = ["s3:GetObject", "s3:ListBucket"], ["s3:PutObject"], ["s3:DeleteObject"]


def user(s3: S3Server, actions: Sequence[str]) -> S3Access:
    statement = {"Effect": "Allow", "Action": [*actions, "sts:Nothing"], "Resource": "*"}
    return s3.make_user(f"user-{uuid.uuid4()}", {"Version": "2012-10-17", "Statement": [statement]})


def open_as(access: S3Access, bucket: str) -> ObjectStore:
    return ObjectStore.open(f"s3://{bucket}", access, patience=dataclasses.replace(QUICK, retries=0))


def test_keys_that_may_do_what_the_message_asks_for_are_enough(s3: S3Server, bucket: str, film: Path) -> None:
    store = open_as(user(s3, [*READ, *WRITE, *DELETE, "s3:AbortMultipartUpload"]), bucket)
    with s3.keys_enforced():
        store.upload(film, KEY)
        assert [info.key for info in store.list("folder")] == [KEY]
        store.download(KEY, film.with_name("copy"))
        store.delete([KEY])
        with pytest.raises(MissingObject):
            store.get(KEY)


@pytest.mark.parametrize(
    ("allowed", "use", "message"),
    [
        (WRITE, lambda store: store.get(KEY), "may not read from the bucket"),
        (WRITE, lambda store: store.head(KEY), "may not read from the bucket"),
        (WRITE, lambda store: list(store.list("folder")), "may not list the bucket"),
        (READ, lambda store: store.put(KEY, b""), "may not write to the bucket"),
        (READ, lambda store: store.delete([KEY]), "may not delete from the bucket"),
    ],
)
def test_a_missing_permission_is_named(
    s3: S3Server, bucket: str, allowed: list[str], use: Callable[[ObjectStore], Any], message: str
) -> None:
    store = open_as(user(s3, allowed), bucket)
    with s3.keys_enforced(), pytest.raises(StoreRefused, match=message):
        use(store)


def test_wrong_keys_are_told_apart(s3: S3Server, bucket: str) -> None:
    good = user(s3, READ)
    wrong_secret = open_as(dataclasses.replace(good, secret_access_key=SECRET), bucket)
    unknown_key = open_as(dataclasses.replace(good, access_key_id="UNKNOWN"), bucket)
    with s3.keys_enforced():
        with pytest.raises(StoreRefused, match="Correct WASABI_SECRET_KEY_READWRITE") as wrong:
            wrong_secret.get(KEY)
        with pytest.raises(StoreRefused, match="Correct WASABI_ACCESS_KEY_READWRITE") as unknown:
            unknown_key.get(KEY)
    for error in (wrong.value, unknown.value):
        assert SECRET not in str(error)
        assert good.access_key_id not in str(error)
        assert good.secret_access_key not in str(error)


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.get(KEY),
        lambda store: store.put(KEY, b""),
        lambda store: list(store.list("folder")),
        lambda store: store.delete([KEY]),
    ],
)
def test_a_missing_bucket_is_not_taken_for_a_missing_object(
    s3: S3Server, use: Callable[[ObjectStore], Any]
) -> None:
    with pytest.raises(StoreRefused, match=r"no bucket nowhere .* correct WASABI_BUCKET"):
        use(open_as(s3.access, "nowhere"))


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("http://127.0.0.1:1", "cannot be reached. Correct WASABI_ENDPOINT_URL"),
        ("http://nowhere.invalid", "is a name that is not found. Correct WASABI_ENDPOINT_URL"),
    ],
)
def test_an_endpoint_that_cannot_be_reached_is_named(s3: S3Server, endpoint: str, message: str) -> None:
    with pytest.raises(StoreUnavailable, match=f"{endpoint} {message}"):
        open_as(dataclasses.replace(s3.access, endpoint=endpoint), "bucket").get(KEY)


def test_an_endpoint_that_keeps_silent_is_named(proxy: FaultyProxy, bucket: str) -> None:
    proxy.commit("GET", STALL)
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        open_as(proxy.access, bucket).get(KEY)


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (Refusal(400, "AuthorizationHeaderMalformed"), "in another region. Correct WASABI_REGION"),
        (Refusal(301, "PermanentRedirect"), "in another region. Correct WASABI_REGION"),
        (Refusal(403, "RequestTimeTooSkewed"), "Set the clock"),
        (Refusal(400, "Puzzling"), "refused to read from the bucket .*: 400 Puzzling"),
    ],
    ids=str,
)
def test_other_refusals_say_what_to_do(
    store: ObjectStore, proxy: FaultyProxy, refusal: Refusal, message: str
) -> None:
    proxy.commit("GET", refusal)
    with pytest.raises(StoreRefused, match=message):
        store.get(KEY)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("endpoint", "s3.wasabisys.com"),
        ("endpoint", "https://user:password@s3.wasabisys.com"),
        ("endpoint", "https://s3.wasabisys.com/bucket"),
        ("region", "eu central"),
        ("access_key_id", "KEY\n"),
        ("secret_access_key", f"{SECRET} "),
    ],
)
def test_a_setting_that_cannot_be_right_is_refused_by_name(s3: S3Server, name: str, value: str) -> None:
    with pytest.raises(StoreRefused, match=ACCESS_VARIABLES[name]) as refused:
        dataclasses.replace(s3.access, **{name: value})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("bucket_name", ["My_Bucket", "a", "bucket%2f.."])
def test_a_bucket_that_cannot_be_one_is_refused(s3: S3Server, bucket_name: str) -> None:
    with pytest.raises(StoreRefused, match="WASABI_BUCKET"):
        ObjectStore.open(f"s3://{bucket_name}", s3.access)


def test_variables_meant_for_other_tools_change_nothing(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of somebody else")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    store = open_as(user(s3, [*READ, *WRITE]), bucket)
    with s3.keys_enforced():
        store.put(KEY, b"content")
        assert store.get(KEY) == b"content"


def test_keys_are_not_shown(s3: S3Server) -> None:
    access = dataclasses.replace(s3.access, secret_access_key=SECRET, access_key_id=SECRET)
    assert SECRET not in f"{access!r} {access} {open_as(access, 'bucket')._backend!r}"
