from __future__ import annotations

from pathlib import Path

import pytest

from docs import generate
from docs.checks import ROOT, pages


# The route takes seconds to draw; `test_route.py` compares its page.
@pytest.mark.parametrize("name", sorted({*generate.GENERATED} - {"docs/route.md"}))
def test_generated_page_is_what_the_code_says(name: str) -> None:
    written = (ROOT / name).read_text(encoding="utf-8")

    assert written == generate.generate(name), "run `make docs`"


def test_pages_name_nothing_that_does_not_exist() -> None:
    assert generate.problems(ROOT) == []


def test_every_page_is_looked_at() -> None:
    names = {page.relative_to(ROOT).as_posix() for page in pages()}

    assert {"README.md", "docs/operating.md", "docs/tutorial.md", *generate.GENERATED} <= names
    assert any(name.startswith("docs/decisions/") for name in names)


def test_stale_page_is_shown_as_a_diff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "GENERATED", {"page.md": lambda: "# Page\n\nnew\n"})
    (tmp_path / "page.md").write_text(generate.generate("page.md").replace("new", "old"))

    (diff,) = generate.stale_pages(tmp_path)

    assert diff.splitlines()[:2] == ["--- page.md", "+++ page.md (from the code)"]
    assert "-old" in diff.splitlines()
    assert "+new" in diff.splitlines()


def test_page_that_is_not_there_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "GENERATED", {"page.md": lambda: "# Page\n"})

    (diff,) = generate.stale_pages(tmp_path)

    assert "+# Page" in diff.splitlines()


def test_check_fails_with_the_remedy_and_writing_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "GENERATED", {"page.md": lambda: "# Page\n"})
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    (tmp_path / "Makefile").write_text("docs: ## Writes pages.\n")

    assert generate.main(["--check"]) == 1
    assert "run `make docs`" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()

    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    assert (tmp_path / "page.md").read_text().endswith("# Page\n")


def test_check_reports_a_broken_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "GENERATED", {})
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    (tmp_path / "Makefile").write_text("docs: ## Writes pages.\n")
    (tmp_path / "README.md").write_text("[gone](docs/gone.md)\n")

    assert generate.main(["--check"]) == 1
    assert "docs/gone.md" in capsys.readouterr().err
