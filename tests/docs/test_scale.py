from __future__ import annotations

import json

import pytest

from docs.scale import KEPT, PAIRS, RESULTS, Estimate, page, show_bytes


@pytest.fixture
def estimate() -> Estimate:
    return Estimate(json.loads(RESULTS.read_text(encoding="utf-8"))["figures"])


def test_records_have_the_sizes_that_were_packed(estimate: Estimate) -> None:
    sizes = {(one.stage, one.what): one.size for one in estimate.shuffles}

    assert sizes["count/sharing", "(image, text) pairs"] == 32
    assert sizes["count/ngrams", "distinct n-grams of a part"] == 28
    assert sizes["count/ngrams", "answers, back to the parts"] == 33
    assert sizes["select", "ids of rows"] == 41
    assert sizes["select", "keepers, back to the parts"] == 32
    assert sizes["shard", "hashed ids to be ranked"] == 28
    assert sizes["shard", "ranks, back to the parts"] == 12


def test_the_bill_adds_up(estimate: Estimate) -> None:
    assert estimate.parts * estimate.part_rows == pytest.approx(PAIRS)
    assert estimate.hours["measure, image"] == pytest.approx(
        PAIRS * estimate.measured["image_512px_ms"] / 1000 / 3600
    )
    assert estimate.moved > 2 * sum(one.written for one in estimate.shuffles)
    assert estimate.reads > PAIRS * KEPT
    assert set(estimate.hours) <= set(estimate.dollars)


def test_the_cost_of_an_image_is_its_own_and_its_pixels(estimate: Estimate) -> None:
    for side in (256, 1024):
        pixels = estimate.measured[f"image_{side}px_megapixels"]
        assert estimate.image_ms + estimate.megapixel_ms * pixels == pytest.approx(
            estimate.measured[f"image_{side}px_ms"]
        )


def test_the_page_has_the_sums(estimate: Estimate) -> None:
    text = page()

    assert show_bytes(estimate.stored_bytes) in text
    assert f"**{sum(estimate.hours.values()):,.0f}**" in text
    assert f"**${sum(estimate.dollars.values()):,.0f}**" in text


def test_bytes_for_people() -> None:
    assert [show_bytes(one) for one in (512, 2e6, 3.456e9, 1.2e13)] == [
        "0.512 kB",
        "2 MB",
        "3.46 GB",
        "12 TB",
    ]
