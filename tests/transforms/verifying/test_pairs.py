"""What the members of a sample must say of one another."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest

from schemas.digests import hex_digest
from transforms.verifying.pairs import HeldMember, InconsistentSampleError, read_sample, row_content

KEY = "0123456789abcdef0123456789abcdef"
IMAGE = hashlib.sha256(b"image").hexdigest()


def held(data: bytes) -> HeldMember:
    return HeldMember(hashlib.sha256(data).hexdigest(), 0, len(data), data)


def values(**changes: Any) -> dict[str, Any]:
    said = {
        "sample_id": KEY,
        "source": "web",
        "locator": "a.jpg",
        "kind": "pair",
        "texts": [{"role": "alt", "text": "a cat"}],
        "media": {"jpg": IMAGE},
        "query_id": hex_digest("a cat"),
        "positive_id": IMAGE,
    }
    return said | changes


def members(**changes: Any) -> dict[str, HeldMember]:
    said = json.dumps(values(**changes)).encode()
    return {"json": held(said), "txt": held(b"a cat"), "jpg": held(b"image")}


def test_sample_says_what_its_row_says() -> None:
    row = {
        "sample_id": KEY,
        "source": "web",
        "locator": "a.jpg",
        "kind": "pair",
        "media": [{"media_id": IMAGE}],
        "texts": [{"role": "alt", "text": "a cat", "lang": None}],
        "text": "a cat",
        "licence": "",
        "attribution": "",
        "meta": "{}",
        "cluster_id": None,
    }
    sample = read_sample(KEY, members(), ["web"], original=True)
    assert sample.content == row_content(row)
    assert sample.content != row_content(row | {"text": "a dog"})
    assert sample.content != row_content(row | {"media": [{"media_id": "0" * 64}]})
    assert sample.content != row_content(row | {"licence": "CC0-1.0"})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sample_id": "f" * 32}, "sample_id in its json"),
        ({"source": "other"}, "the source 'other'"),
        ({"texts": [{"role": "alt", "text": "a dog"}]}, "caption (txt)"),
        ({"query_id": "0" * 32}, "query_id"),
        ({"positive_id": "0" * 64}, "positive_id"),
        ({"media": {"jpg": "0" * 64}, "positive_id": "0" * 64}, "jpg member's sha256"),
        ({"media": {"png": IMAGE}}, "no png member"),
        ({"media": {}}, "names 0 media"),
        ({"surprise": 1}, "is no sample"),
        (
            {
                "texts": [
                    {"role": "alt", "text": "a cat"},
                    {"role": "alt", "text": "made", "media_id": "0" * 64},
                ]
            },
            "was made from the media",
        ),
    ],
)
def test_contradictions_are_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InconsistentSampleError, match=re.escape(says)):
        read_sample(KEY, members(**changes), ["web"], original=True)


@pytest.mark.parametrize("missing", ["json", "txt", "jpg"])
def test_missing_members_are_named(missing: str) -> None:
    some = members()
    del some[missing]
    with pytest.raises(InconsistentSampleError, match=f"has no {missing} member"):
        read_sample(KEY, some, ["web"], original=True)


def test_member_that_the_json_does_not_name_is_refused() -> None:
    some = members() | {"exe": held(b"MZ")}
    with pytest.raises(InconsistentSampleError, match="'exe' that its json does not name"):
        read_sample(KEY, some, ["web"], original=True)


def test_re_encoded_image_need_not_have_the_digest_of_its_media() -> None:
    some = members() | {"jpg": held(b"smaller image")}
    sample = read_sample(KEY, some, ["web"], original=False)
    assert sample.media == some["jpg"]
    with pytest.raises(InconsistentSampleError, match="sha256"):
        read_sample(KEY, some, ["web"], original=True)
