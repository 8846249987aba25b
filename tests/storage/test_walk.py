"""Listings of a local tree: order, links, and what is not a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import StorageError
from storage.local import LocalFolder

segments = st.text(alphabet="ab.-/0é\uffee😀 ", min_size=1, max_size=6)


def names(folder: LocalFolder, prefix: str = "") -> list[str]:
    return [entry.name for entry in folder.list(prefix)]


@settings(max_examples=60)
@given(st.sets(segments, max_size=12), st.text(alphabet="ab./0", max_size=3))
def test_the_order_is_that_of_the_bytes(drawn: set[str], prefix: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        folder = LocalFolder(directory)
        made = set()
        for name in drawn:
            try:
                folder.replace(name, b"")
            except (ValueError, OSError):
                # Not a name, or one file below another.
                continue
            made.add(name)
        try:
            listed = names(folder, prefix)
        except ValueError:
            return
        expected = sorted((name for name in made if name.startswith(prefix)), key=str.encode)
        assert listed == expected


def test_a_listing_streams(tmp_path: Path) -> None:
    for name in ("a/1", "b/1", "c/1"):
        LocalFolder(str(tmp_path)).create(name, b"")
    listing = LocalFolder(str(tmp_path)).list()
    assert next(listing).name == "a/1"
    (tmp_path / "c" / "2").write_bytes(b"late")
    assert [entry.name for entry in listing] == ["b/1", "c/1", "c/2"]


@pytest.fixture
def tree(tmp_path: Path) -> LocalFolder:
    """A folder beside a secret that it must not show."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_bytes(b"secret")
    folder = LocalFolder(str(tmp_path / "root"))
    folder.create("in/file", b"inside")
    return folder


def test_a_link_to_a_file_inside_is_a_file(tree: LocalFolder) -> None:
    Path(tree.root, "link").symlink_to("in/file")
    assert names(tree) == ["in/file", "link"]
    assert tree.read("link") == b"inside"
    assert [entry.size for entry in tree.list("link")] == [6]


def test_a_link_to_a_directory_inside_adds_nothing(tree: LocalFolder) -> None:
    Path(tree.root, "again").symlink_to("in")
    Path(tree.root, "in", "loop").symlink_to("..")
    assert names(tree) == ["in/file"]
    assert tree.read("again/loop/again/file") == b"inside"


def test_dangling_and_circular_links_are_not_files(tree: LocalFolder) -> None:
    Path(tree.root, "dangling").symlink_to("nothing")
    Path(tree.root, "one").symlink_to("two")
    Path(tree.root, "two").symlink_to("one")
    assert names(tree) == ["in/file"]
    for name in ("dangling", "one"):
        assert not tree.exists(name)
        with pytest.raises(FileNotFoundError):
            tree.read(name)
        with pytest.raises(StorageError, match="in the way"):
            tree.create(name, b"x")


@pytest.mark.parametrize("target", ["../secret", "../secret/key", "/etc/passwd", "../missing"])
def test_a_link_that_leaves_the_folder_is_refused(tree: LocalFolder, target: str) -> None:
    Path(tree.root, "link").symlink_to(target)
    for prefix in ("", "li", "link/"):
        with pytest.raises(StorageError, match=r"link' is a symbolic link.*outside"):
            names(tree, prefix)
    for name in ("link", "link/key"):
        with pytest.raises(StorageError, match="outside"):
            tree.read(name)
        with pytest.raises(StorageError, match="outside"):
            tree.create(name, b"x")
        with pytest.raises(StorageError, match="outside"):
            tree.replace(name, b"x")
        with pytest.raises(StorageError, match="outside"):
            tree.delete(name)
    child = tree.child("link")
    with pytest.raises(StorageError, match="outside"):
        child.list()
    with pytest.raises(StorageError, match="outside"):
        child.read("key")
    with pytest.raises(StorageError, match="outside"):
        child.sweep(0)
    assert Path(tree.root, "..", "secret", "key").read_bytes() == b"secret"


def test_the_folder_itself_may_be_a_link(tree: LocalFolder, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to("root")
    alias = LocalFolder(str(tmp_path / "alias"))
    assert names(alias) == ["in/file"]
    assert alias.read("in/file") == b"inside"
    assert alias.create("new", b"x")
    (tmp_path / "alias" / "link").symlink_to("in/file")
    assert alias.read("link") == b"inside"


def test_pipes_are_not_files_and_do_not_block(tree: LocalFolder) -> None:
    os.mkfifo(Path(tree.root, "pipe"))
    assert names(tree) == ["in/file"]
    with pytest.raises(FileNotFoundError):
        tree.read("pipe")


@pytest.mark.parametrize("name", [b"a\\b", b"\xff.jpg", b"line\nbreak"])
def test_a_file_that_could_not_be_named_is_reported(tree: LocalFolder, name: bytes) -> None:
    (Path(tree.root) / os.fsdecode(name)).write_bytes(b"")
    with pytest.raises(StorageError, match=r"root/.*rename the file") as raised:
        names(tree)
    str(raised.value).encode()
