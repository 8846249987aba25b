"""Temporary files: their names, their end, and the sweep."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage import temporaries
from storage.names import TEMPORARY_PREFIX
from storage.temporaries import explain_full_disk, is_temporary, sweep, temporary_file


def test_a_temporary_file_is_empty_hidden_and_gone_at_the_end(tmp_path: Path) -> None:
    with temporary_file(tmp_path, mode=0o600) as path:
        assert path.parent == tmp_path
        assert path.name.startswith(TEMPORARY_PREFIX)
        assert is_temporary(path)
        assert path.stat().st_size == 0
        assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == []


def test_it_is_gone_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), temporary_file(tmp_path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_threads_never_share_a_name(tmp_path: Path) -> None:
    def name(_: int) -> str:
        with temporary_file(tmp_path) as path:
            return path.name

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(name, range(200)))
    assert len(set(names)) == 200


def test_a_name_left_by_a_dead_process_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporaries, "_serial", iter([5, 5, 6]))
    with temporary_file(tmp_path) as first, temporary_file(tmp_path) as second:
        assert first.name.endswith("-5")
        assert second.name.endswith("-6")


def test_the_sweep_takes_old_temporaries_only(tmp_path: Path) -> None:
    now = time.time()
    for name, age in [("a", 100), ("b", 10)]:
        path = tmp_path / f"{TEMPORARY_PREFIX}{name}"
        path.touch()
        os.utime(path, (now - age, now - age))
    kept = tmp_path / "old file"
    kept.touch()
    os.utime(kept, (0, 0))
    assert sweep([str(tmp_path), str(tmp_path / "missing")], older_than_s=50) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{TEMPORARY_PREFIX}b", "old file"]


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    error = PermissionError(13, "Permission denied")
    with pytest.raises(PermissionError) as raised, explain_full_disk(tmp_path / "x", 1):
        raise error
    assert raised.value is error
