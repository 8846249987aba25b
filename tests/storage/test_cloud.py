"""Commits to an object store: races, lost answers, refusals, and what is odd in a bucket."""

from __future__ import annotations

import gzip
import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.cloud.storage.retry import DEFAULT_RETRY

from storage import cloud
from storage.client import client
from storage.cloud import CloudFolder
from storage.errors import StorageError
from storage.folders import open_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.storage.conftest import Answer, Proxy

ROOT = Path(__file__).parents[2]
SMALL = b"small"
LARGE = bytes(9 * 1024 * 1024)
"""Above 8 MiB the upload is a resumable one of several requests."""


def folder_of(bucket: str) -> CloudFolder:
    folder = open_folder(bucket)
    assert isinstance(folder, CloudFolder)
    return folder


def test_of_many_writers_one_commits(fake_gcs_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(fake_gcs_bucket)
    # All of them find the name free, and the precondition alone decides.
    monkeypatch.setattr(CloudFolder, "exists", lambda *arguments: False)
    start = threading.Barrier(8)

    def commit(number: int) -> bool:
        start.wait(timeout=30)
        return folder.create("part", bytes([number]) * 1000)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(commit, range(8)))
    assert sorted(answers) == [False] * 7 + [True]
    assert folder.read("part") == bytes([answers.index(True)]) * 1000


@pytest.mark.parametrize(
    ("method", "words"), [("POST", "uploadType=resumable"), ("PUT", "upload_id")]
)
def test_a_resumable_upload_that_lost_is_told_so(
    fake_gcs_bucket: str, proxy: Proxy, method: str, words: str
) -> None:
    # Cloud Storage answers so; fake-gcs-server ignores preconditions on resumable uploads.
    proxy.refuse(method, words, 412)
    assert folder_of(fake_gcs_bucket).create("part", LARGE) is False
    assert proxy.faults == []
    (start,) = (request for request in proxy.seen if request.startswith("POST"))
    assert "uploadType=resumable" in start
    assert "ifGenerationMatch=0" in start


@pytest.mark.parametrize(
    ("method", "words", "data"),
    [
        ("POST", "uploadType=multipart", SMALL),
        ("POST", "uploadType=resumable", LARGE),
        ("PUT", "upload_id", LARGE),
    ],
)
def test_a_refused_upload_is_tried_again(
    fake_gcs_bucket: str, proxy: Proxy, method: str, words: str, data: bytes
) -> None:
    proxy.refuse(method, words, 503)
    assert folder_of(fake_gcs_bucket).create("part", data) is True
    assert proxy.faults == []
    assert folder_of(fake_gcs_bucket).read("part") == data


def test_a_commit_whose_answer_was_lost_is_ours(fake_gcs_bucket: str, proxy: Proxy) -> None:
    proxy.lose_answer("POST", "uploadType=multipart")
    folder = folder_of(fake_gcs_bucket)
    assert folder.create("part", SMALL) is True
    assert proxy.faults == []
    assert sum("uploadType=multipart" in request for request in proxy.seen) == 2
    assert folder.create("part", SMALL) is False


def test_a_file_whose_answer_was_lost_is_ours(
    fake_gcs_bucket: str, proxy: Proxy, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(SMALL)
    proxy.lose_answer("POST", "uploadType=multipart")
    assert folder_of(fake_gcs_bucket).create("part", tmp_path / "file") is True
    assert proxy.faults == []


def test_a_commit_that_another_writer_won_during_a_retry_is_lost(
    fake_gcs_bucket: str, proxy: Proxy
) -> None:
    folder = folder_of(fake_gcs_bucket)

    def other_wins(forward: Callable[[], Answer]) -> Answer:
        assert folder.create("part", b"other")
        return 503, [], b"busy"

    proxy.act("POST", "uploadType=multipart", other_wins)
    assert folder.create("part", SMALL) is False
    assert folder.read("part") == b"other"


def test_equal_content_does_not_make_a_loser_a_winner(
    fake_gcs_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(fake_gcs_bucket)
    assert folder.create("part", SMALL) is True
    monkeypatch.setattr(CloudFolder, "exists", lambda *arguments: False)
    assert folder.create("part", SMALL) is False


def test_a_large_file_goes_up_in_chunks(fake_gcs_bucket: str, proxy: Proxy) -> None:
    folder = folder_of(fake_gcs_bucket)
    data = os.urandom(20 * 1024 * 1024)
    with folder.temporary_file() as path:
        path.write_bytes(data)
        assert folder.create("shard.tar", path)
    assert sum(request.startswith("PUT") for request in proxy.seen) == 2
    assert folder.read("shard.tar") == data


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_read_is_tried_again(fake_gcs_bucket: str, proxy: Proxy, status: int) -> None:
    folder = folder_of(fake_gcs_bucket)
    folder.create("part", SMALL)
    proxy.refuse("GET", "alt=media", status)
    assert folder.read_range("part", 1, 3) == SMALL[1:4]
    assert proxy.faults == []


@pytest.mark.parametrize(
    ("method", "permission", "act"),
    [
        ("GET", "storage.objects.list", lambda folder: list(folder.list())),
        ("GET", "storage.objects.get", lambda folder: folder.read("x")),
        ("GET", "storage.objects.get", lambda folder: folder.exists("x")),
        ("POST", "storage.objects.create", lambda folder: folder.create("x", SMALL)),
        ("POST", "storage.objects.create", lambda folder: folder.create("x", LARGE)),
        ("POST", "storage.objects.delete", lambda folder: folder.replace("x", SMALL)),
        ("DELETE", "storage.objects.delete", lambda folder: folder.delete("x")),
    ],
)
def test_a_missing_permission_is_named(
    fake_gcs_bucket: str,
    proxy: Proxy,
    method: str,
    permission: str,
    act: Callable[[CloudFolder], object],
) -> None:
    folder = folder_of(fake_gcs_bucket)
    proxy.refuse(method, "/o", 403)
    bucket = fake_gcs_bucket.removeprefix("gs://")
    words = rf"{fake_gcs_bucket}.*denied; .*{permission}.*on bucket '{bucket}'.*objectUser"
    with pytest.raises(StorageError, match=words):
        act(folder)


def test_refused_credentials_are_explained(fake_gcs_bucket: str, proxy: Proxy) -> None:
    proxy.refuse("GET", "/o", 401)
    with pytest.raises(StorageError, match=r"no usable Google credentials.*gcloud auth"):
        list(folder_of(fake_gcs_bucket).list())


@pytest.mark.parametrize("server", ["gcs_bucket", "fake_gcs_bucket"])
@pytest.mark.parametrize(
    "act",
    [
        lambda folder: list(folder.list()),
        lambda folder: folder.exists("x"),
        lambda folder: folder.read("x"),
        lambda folder: folder.read_range("x", 0, 1),
        lambda folder: folder.create("x", SMALL),
        lambda folder: folder.create("x", LARGE),
        lambda folder: folder.replace("x", SMALL),
        lambda folder: folder.delete("x"),
    ],
)
def test_a_missing_bucket_is_named(
    request: pytest.FixtureRequest, server: str, act: Callable[[CloudFolder], object]
) -> None:
    request.getfixturevalue(server)
    with pytest.raises(StorageError, match="bucket 'no-such-bucket' does not exist; create it"):
        act(CloudFolder("no-such-bucket", "work"))


def test_a_server_that_never_recovers_is_given_up(
    fake_gcs_bucket: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "DEFAULT_RETRY", DEFAULT_RETRY.with_timeout(0.1))
    for _ in range(20):
        proxy.refuse("GET", "/o/x", 503)
    with pytest.raises(StorageError, match=r"/x: gave up .*503.*run again"):
        folder_of(fake_gcs_bucket).read("x")


def test_a_server_that_is_not_there_is_given_up(
    fake_gcs_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "DEFAULT_RETRY", DEFAULT_RETRY.with_timeout(0.1))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="gave up"):
        list(folder_of(fake_gcs_bucket).list())


def test_damage_on_the_way_is_found(fake_gcs_bucket: str, proxy: Proxy) -> None:
    folder = folder_of(fake_gcs_bucket)
    folder.create("part", SMALL)

    def damage(forward: Callable[[], Answer]) -> Answer:
        status, headers, _ = forward()
        return status, headers, SMALL.upper()

    proxy.act("GET", "alt=media", damage)
    with pytest.raises(StorageError, match=r"part: gave up .*[Cc]hecksum"):
        folder.read("part")


def test_an_object_that_is_replaced_under_a_reader_is_an_error(
    fake_gcs_bucket: str, proxy: Proxy
) -> None:
    folder = folder_of(fake_gcs_bucket)
    folder.replace("lock", b"old")
    with folder.open_reader("lock") as reader:
        # fake-gcs-server ignores the precondition of a download; Cloud Storage answers 412.
        proxy.refuse("GET", "ifGenerationMatch=", 412)
        with pytest.raises(StorageError, match="lock was replaced while it was being read"):
            reader.read_at(0, 3)
    assert proxy.faults == []


def page(names: list[str], token: str | None = None) -> Callable[[Callable[[], Answer]], Answer]:
    """Returns a made-up page of a listing."""
    items = [{"name": name, "size": "1", "crc32c": "AAAAAQ=="} for name in names]
    body = json.dumps({"items": items} | ({"nextPageToken": token} if token else {}))
    answer = 200, [("Content-Type", "application/json")], body.encode()
    return lambda forward: answer


def test_a_listing_asks_for_a_page_when_it_is_wanted(fake_gcs_bucket: str, proxy: Proxy) -> None:
    proxy.act("GET", "prefix=work%2F", page(["work/a", "work/b"], "next"))
    proxy.act("GET", "pageToken=next", page(["work/c"]))
    listing = folder_of(f"{fake_gcs_bucket}/work").list()
    assert [next(listing).name, next(listing).name] == ["a", "b"]
    assert len(proxy.faults) == 1
    entry = next(listing)
    assert (entry.name, entry.checksum) == ("c", "crc32c:00000001")
    assert list(listing) == []
    # The client library asks for the bucket too, in a thread of its own.
    pages = [request for request in proxy.seen if "/o?" in request]
    assert len(pages) == 2
    assert all("fields=items" in request for request in pages)


def test_folder_marks_and_temporaries_are_not_listed(fake_gcs_bucket: str, proxy: Proxy) -> None:
    odd = ["work/", "work/.tmp-mixwright-d/x", "work/.tmp-mixwright-x", "work/sub/", "work/x"]
    proxy.act("GET", "prefix=&", page(odd))
    proxy.act("GET", "prefix=work%2F", page(odd))
    folder = folder_of(fake_gcs_bucket)
    assert [entry.name for entry in folder.list()] == ["work/x"]
    assert [entry.name for entry in folder.child("work").list()] == ["x"]


@pytest.mark.parametrize("name", ["work/a//b", "work/../b", "work/a\\b"])
def test_an_object_that_could_not_be_named_is_reported(
    fake_gcs_bucket: str, proxy: Proxy, name: str
) -> None:
    proxy.act("GET", "/o?", page([name]))
    with pytest.raises(StorageError, match=rf"{fake_gcs_bucket}/work.*rename the object"):
        list(folder_of(fake_gcs_bucket).list())


def test_compressed_objects_are_read_as_they_are_stored(gcs_bucket: str) -> None:
    folder = folder_of(gcs_bucket)
    stored = gzip.compress(b"text" * 100, mtime=0)
    blob = client().bucket(folder.bucket).blob("text.gz")
    blob.content_encoding = "gzip"
    blob.upload_from_string(stored)
    assert folder.read("text.gz") == stored
    entry = folder.stat("text.gz")
    assert entry is not None
    assert entry.size == len(stored)
    assert folder.read_range("text.gz", 0, 2) == b"\x1f\x8b"


def test_an_object_without_crc32c_has_no_checksum(fake_gcs_bucket: str, proxy: Proxy) -> None:
    answer = 200, [("Content-Type", "application/json")], b'{"name": "x", "size": "1"}'
    for _ in range(2):
        proxy.act("GET", "/o/x", lambda forward: answer)
    folder = folder_of(fake_gcs_bucket)
    entry = folder.stat("x")
    assert entry is not None
    assert entry.checksum is None
    with pytest.raises(StorageError, match=r"no crc32c.*encryption key"):
        folder.checksum("x")


def test_scratch_files_lie_in_the_temporary_directory(
    gcs_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = folder_of(gcs_bucket)
    with folder.temporary_file() as path:
        assert path.parent == tmp_path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert folder.sweep(older_than_s=3600) == 0
        assert folder.sweep(older_than_s=-1) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_process_has_one_client_for_each_server(
    gcs_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = client()
    assert client() is first
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(client).result() is first
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert client() is not first


def test_more_threads_than_the_default_pool_reuse_connections(
    fake_gcs_bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_of(fake_gcs_bucket)
    folder.create("part", bytes(1000))
    with ThreadPoolExecutor(32) as pool:
        parts = list(pool.map(lambda at: folder.read_range("part", at, 10), range(640)))
    assert parts == [bytes(10)] * 640
    assert "Connection pool is full" not in caplog.text


def test_missing_credentials_are_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    start = time.monotonic()
    with pytest.raises(StorageError, match=r"no usable Google credentials.*gcloud auth"):
        folder_of("gs://bucket").read("x")
    assert time.monotonic() - start < 5


WITHOUT_EXTRA = """
import sys
from storage.errors import StorageError
from storage.folders import open_folder
assert list(open_folder(sys.argv[1]).list()) == []
assert "google.cloud.storage" not in sys.modules, "imported for a local folder"
assert "google_crc32c" not in sys.modules, "imported for a local folder"
sys.modules[sys.argv[2]] = None
try:
    open_folder("gs://bucket/x")
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize("module", ["google_crc32c", "google.cloud.storage"])
def test_without_the_extra_local_folders_work_and_buckets_say_what_to_install(
    tmp_path: Path, module: str
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA, str(tmp_path), module],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.startswith(f"folder 'gs://bucket/x' needs the gcp extra (no module '{module}")
    assert ran.stdout.endswith("here): pip install 'mixwright[gcp]'\n")
