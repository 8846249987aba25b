from __future__ import annotations

from docs.markdown import anchors, code, split_code, table


def test_cells_lie_on_one_line_and_keep_their_bars() -> None:
    assert table(["a", "b"], [["x | y", "two\n  lines"]]) == [
        "| a | b |",
        "| --- | --- |",
        "| x \\| y | two lines |",
        "",
    ]


def test_code_of_nothing_is_nothing() -> None:
    assert code("x") == "`x`"
    assert code("") == ""


def test_fenced_lines_are_told_from_prose() -> None:
    text = "one\n```console\n$ two\n```\nthree\n"

    assert list(split_code(text)) == [("one", False), ("$ two", True), ("three", False)]


def test_anchors_are_those_of_headings() -> None:
    text = "# The `keep` rule\n## A/B\n## A/B\n```text\n# no heading\n```\n"

    assert anchors(text) == {"the-keep-rule", "ab", "ab-1"}
