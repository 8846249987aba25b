from __future__ import annotations

import pickle

from schemas.layout import Part
from transforms.parts.tables import PartFile
from transforms.parts.work import NumberedPart, is_wanted, number_key

PART = NumberedPart(17, PartFile(Part("i0", "web", "part-00000000000000aa"), 1), 10_000, False)


def test_a_numbered_part_crosses_a_shuffle_in_a_few_hundred_bytes():
    packed = pickle.dumps(PART)
    assert len(packed) < 400
    assert pickle.loads(packed) == PART  # noqa: S301 - our own bytes


def test_keys_are_text():
    assert number_key(PART) == "17"
    assert not is_wanted(PART)
