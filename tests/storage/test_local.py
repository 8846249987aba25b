"""Commits on a local disk: races, crashes, full disks, and file systems that cannot link."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from storage.errors import StorageError
from storage.local import LocalFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60


def spawn(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Starts a Python process that can import the repository."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def names(folder: LocalFolder) -> list[str]:
    return [entry.name for entry in folder.list()]


def leftovers(folder: LocalFolder) -> list[Path]:
    return sorted(Path(folder.uri).rglob(".tmp-*"))


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    return LocalFolder(str(tmp_path / "work"))


CREATE = """
import sys
from storage.folders import open_folder
folder = open_folder(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(folder.create("a/part.parquet", sys.argv[2].encode() * 100_000))
"""


def test_of_eight_processes_one_commits_and_its_content_is_whole(folder: LocalFolder) -> None:
    workers = [spawn(CREATE, folder.uri, str(number)) for number in range(8)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        answers = [worker.communicate(timeout=DEADLINE_S)[0].strip() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert sorted(answers) == ["False"] * 7 + ["True"]
    winner = str(answers.index("True")).encode()
    assert folder.read("a/part.parquet") == winner * 100_000
    assert names(folder) == ["a/part.parquet"]
    assert leftovers(folder) == []


KILLED = """
import os, sys, time
from storage.folders import open_folder
def stop(*arguments):
    print("stopped", flush=True)
    time.sleep(600)
setattr(os, sys.argv[2], stop)
open_folder(sys.argv[1]).create("part", b"x" * 100_000)
"""


@pytest.mark.parametrize("call", ["fsync", "link", "unlink"])
def test_a_killed_create_shows_all_or_nothing(folder: LocalFolder, call: str) -> None:
    folder.create("before", b"")
    worker = spawn(KILLED, folder.uri, call)
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "stopped\n"
        os.kill(worker.pid, signal.SIGKILL)
    finally:
        worker.kill()
        worker.communicate(timeout=DEADLINE_S)
    # Only a process that died after the link has committed.
    assert names(folder) == ["before", *(["part"] if call == "unlink" else [])]
    assert len(leftovers(folder)) == 1
    assert folder.sweep(older_than_s=3600) == 0
    assert folder.create("part", b"x" * 100_000) is (call != "unlink")
    assert folder.sweep(older_than_s=0) == 1
    assert folder.read("part") == b"x" * 100_000
    assert leftovers(folder) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[LocalFolder]:
    """A folder on a disk of 64 KiB, where this user may mount one."""
    point = tmp_path / "tiny"
    point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(point)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False, timeout=DEADLINE_S)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if mounted.returncode:
        pytest.skip(f"no right to mount: {mounted.stderr.decode()}")
    yield LocalFolder(str(point / "work"))
    subprocess.run(["umount", str(point)], check=True, timeout=DEADLINE_S)


def test_a_full_disk_is_explained_and_leaves_nothing(tiny_disk: LocalFolder) -> None:
    assert tiny_disk.create("small", b"x" * 1000)
    words = (
        rf"{tiny_disk.uri}/a/large: No space left on device: 100000 bytes wanted, "
        r"\d+ bytes and \d+ inodes free; make room"
    )
    with pytest.raises(StorageError, match=words):
        tiny_disk.create("a/large", b"x" * 100_000)
    with pytest.raises(StorageError, match="100000 bytes wanted"):
        tiny_disk.replace("a/large", b"x" * 100_000)
    with (
        pytest.raises(StorageError, match="temporary file: No space left"),
        tiny_disk.temporary_file() as path,
    ):
        path.write_bytes(b"x" * 100_000)
    assert leftovers(tiny_disk) == []
    assert names(tiny_disk) == ["small"]
    assert tiny_disk.create("fits", b"x" * 10_000)


def test_a_file_on_another_disk_is_copied(tiny_disk: LocalFolder, folder: LocalFolder) -> None:
    with folder.temporary_file() as path:
        path.write_bytes(b"content")
        assert tiny_disk.create("part", path)
        assert not tiny_disk.create("part", path)
    assert tiny_disk.read("part") == b"content"
    assert leftovers(tiny_disk) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_that_shows_late_is_explained(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    folder.create("before", b"")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=f"{os.strerror(code)}: 3 bytes wanted"):
        folder.create("part", b"123")
    assert names(folder) == ["before"]
    assert leftovers(folder) == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_is_named(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(StorageError, match=r"work/part: this file system refuses hard links.*ext4"):
        folder.create("part", b"123")
    assert names(folder) == []
    assert leftovers(folder) == []


def test_a_link_that_nfs_made_but_denied_is_a_commit(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def deny(source: str, target: str, **options: bool) -> None:
        link(source, target, **options)
        raise FileExistsError(errno.EEXIST, "File exists", source, None, target)

    monkeypatch.setattr(os, "link", deny)
    assert folder.create("part", b"123") is True
    monkeypatch.undo()
    assert folder.create("part", b"123") is False


def test_a_loser_of_the_link_keeps_the_winner(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def lose(source: str, target: str, **options: bool) -> None:
        Path(target).write_bytes(b"winner")
        link(source, target, **options)

    monkeypatch.setattr(os, "link", lose)
    assert folder.create("part", b"loser") is False
    assert folder.read("part") == b"winner"
    assert leftovers(folder) == []


def test_a_temporary_file_is_linked_and_another_is_copied(
    folder: LocalFolder, tmp_path: Path
) -> None:
    with folder.temporary_file() as path:
        path.write_bytes(b"own")
        inode = path.stat().st_ino
        assert folder.child("deep").create("own", path)
    assert Path(folder.locate("deep/own")).stat().st_ino == inode
    other = tmp_path / "other"
    other.write_bytes(b"other")
    assert folder.create("other", other)
    assert Path(folder.locate("other")).stat().st_ino != other.stat().st_ino


def test_a_directory_in_the_way_is_an_error(folder: LocalFolder) -> None:
    folder.create("a/x", b"1")
    with pytest.raises(StorageError, match=r"work/a: a directory or a link is in the way"):
        folder.create("a", b"2")
    with pytest.raises(StorageError, match=r"work/a/x is a file, not a directory"):
        folder.create("a/x/y", b"2")
    with pytest.raises(StorageError, match=r"work/a/x is a file, not a directory"):
        folder.create("a/x/y/z", b"2")
    assert leftovers(folder) == []


def test_files_have_the_permissions_of_the_umask(folder: LocalFolder) -> None:
    before = os.umask(0o027)
    try:
        folder.create("created", b"")
        folder.replace("replaced", b"")
    finally:
        os.umask(before)
    for name in ("created", "replaced"):
        assert Path(folder.locate(name)).stat().st_mode & 0o777 == 0o640


def test_readers_of_a_replaced_file_see_old_or_new(folder: LocalFolder) -> None:
    folder.replace("lock", b"old")
    with folder.open_reader("lock") as reader:
        folder.replace("lock", b"newer")
        assert reader.read_at(0, reader.size) == b"old"
    assert folder.read("lock") == b"newer"


def test_an_unreadable_file_is_an_error_not_an_absence(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.create("part", b"123")

    def deny(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "stat", deny)
    with pytest.raises(PermissionError):
        folder.exists("part")


def test_a_listing_of_many_files_is_quick(folder: LocalFolder) -> None:
    for directory in range(20):
        Path(folder.uri, f"{directory:02}").mkdir(parents=True)
        for number in range(500):
            Path(folder.uri, f"{directory:02}", f"{number:03}.jpg").touch()
    start = time.perf_counter()
    listed = names(folder)
    assert len(listed) == 10_000
    assert listed == sorted(listed)
    # About 0.04 s on one core of 2024; the bound is for a busy machine.
    assert time.perf_counter() - start < 2
