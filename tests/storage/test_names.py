"""Names that may and may not name a file of a folder."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.names import MAX_NAME_BYTES, check_name, check_prefix, join


@pytest.mark.parametrize(
    "name",
    ["a", "a/b", "a.b/c-d_e", "…/日本語", ".hidden", "..a", "a..", "...", " ", "C:/x", "~/x", "-"],
)
def test_a_plain_name_passes(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        ("/", "is absolute"),
        ("/etc/passwd", "is absolute"),
        ("//x", "is absolute"),
        ("a//b", "has an empty segment"),
        ("a/", "has an empty segment"),
        (".", "has the segment '.'"),
        ("./a", "has the segment '.'"),
        ("..", "has the segment '..'"),
        ("a/../../b", "has the segment '..'"),
        ("..\\b", r"holds '\\\\'"),
        ("a\\b", r"holds '\\\\'"),
        ("a\0b", r"holds '\\x00'"),
        ("a\nb", r"holds '\\n'"),
        ("a\x7f", r"holds '\\x7f'"),
        ("\udc80", "is not UTF-8"),
        ("é" * (MAX_NAME_BYTES // 2 + 1), "has 1026 bytes, more than 1024"),
        (".tmp-mixwright-x", "is kept for temporary files"),
        ("a/.tmp-mixwright-x/b", "is kept for temporary files"),
    ],
)
def test_a_bad_name_is_refused_with_its_problem(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_name(name)


@given(st.text())
def test_a_name_that_passes_stays_below_its_folder(name: str) -> None:
    try:
        check_name(name)
    except ValueError:
        return
    path = PurePosixPath("/root") / name
    assert str(path) == f"/root/{name}"
    assert ".." not in path.parts


def test_a_prefix_may_be_empty_or_end_in_a_slash() -> None:
    assert check_prefix("") == ""
    assert check_prefix("a/") == "a/"
    assert check_prefix("a/b") == "a/b"
    for prefix in ("/", "a//", "../", "/a"):
        with pytest.raises(ValueError, match="file name"):
            check_prefix(prefix)


def test_join() -> None:
    assert join("", "a") == "a"
    assert join("a", "b/c") == "a/b/c"
