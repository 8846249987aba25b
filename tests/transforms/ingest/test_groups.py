from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.ingest.groups import (
    MAX_MEMBERS,
    MAX_WAITING,
    group_members,
    is_media,
    is_text,
    split_name,
)
from transforms.ingest.tars import Member


def member(name: str, data: bytes = b"x") -> Member:
    return Member(name, len(data), data)


def groups(*names: str) -> list[tuple[str, list[str]]]:
    return [(group.key, sorted(group.members)) for group in group_members(map(member, names))]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("img.v1.jpg", ("img", "v1.jpg")),
        ("a/b/000.en.txt", ("a/b/000", "en.txt")),
        ("x/y.z/k.JPG", ("x/y.z/k", "jpg")),
        ("./000.jpg", ("000", "jpg")),
        ("noext", None),
        (".hidden", None),
        ("._000.jpg", None),
        ("__info__.json", None),
    ],
)
def test_names_split_as_webdataset_does(name, parts):
    assert split_name(name) == parts


def test_extensions():
    assert all(map(is_media, ("jpg", "left.png", "img", "image", "avif", "tiff")))
    assert not any(map(is_media, ("txt", "npz", "mp4", "jpg.txt")))
    assert all(map(is_text, ("txt", "json", "en.txt", "caption", "text")))
    assert not any(map(is_text, ("cls", "jpg", "txt.gz")))


def test_consecutive_members_with_one_key_are_a_sample():
    assert groups("a.jpg", "a.json", "a.txt", "b.jpg", "b.txt", "skipped", "c.cls") == [
        ("a", ["jpg", "json", "txt"]),
        ("b", ["jpg", "txt"]),
        ("c", ["cls"]),
    ]


def test_members_out_of_order_are_joined_while_they_wait():
    assert groups("a.jpg", "b.jpg", "a.txt", "b.txt", "c.jpg", "c.txt") == [
        ("a", ["jpg", "txt"]),
        ("b", ["jpg", "txt"]),
        ("c", ["jpg", "txt"]),
    ]


def test_the_window_is_bounded():
    keys = [f"{number:04}" for number in range(MAX_WAITING)]
    jpgs, txts = [f"{key}.jpg" for key in keys], [f"{key}.txt" for key in keys]
    assert groups(*jpgs, *txts) == [(key, ["jpg", "txt"]) for key in keys]
    found = groups("first.jpg", *jpgs, "first.txt")
    assert found[0] == ("first", ["jpg"])
    assert ("first", ["txt"]) in found


def test_waiting_groups_hold_few_bytes(monkeypatch):
    monkeypatch.setattr("transforms.ingest.groups.MAX_WAITING_BYTES", 25)
    members = [member(f"{number}.jpg", b"0123456789") for number in range(5)]
    produced = []

    def feed():
        for one in members:
            yield one
            produced.append(len(found))

    found: list[str] = []
    for group in group_members(feed()):
        found.append(group.key)
    assert found == list("01234")
    assert produced[-1] >= 2


def test_a_repeated_key_is_an_input_of_its_own_named_by_content():
    members = [
        *(member("a.jpg", b"1"), member("a.txt", b"one")),
        *(member("a.jpg", b"2"), member("a.txt", b"two")),
        *(member("b.jpg", b"3"), member("b.txt", b"three")),
        *(member("a.jpg", b"2"), member("a.txt", b"two")),
        *(member("a.txt", b"alone"),),
    ]
    locators = [group.locator for group in group_members(members)]
    assert locators[0] == "a"
    assert locators[2] == "b"
    assert locators[1].startswith("a#")
    assert locators[1] == locators[3]
    assert len(set(locators)) == 4


def test_of_several_images_only_one_keeps_its_bytes():
    names = ["k.a.b.jpg", "k.thumb.jpg", "k.png", "k.jpg", "k.webp", "k.txt"]
    (group,) = group_members([member(name, b"bytes") for name in names])
    assert group.images == ["jpg", "png", "webp", "thumb.jpg", "a.b.jpg"]
    assert [name for name, one in group.members.items() if one.data] == ["jpg", "txt"]
    assert all(one.size == 5 for one in group.members.values())


def test_a_sample_has_no_endless_members():
    names = [f"k.{number}.cls" for number in range(MAX_MEMBERS * 2 + 1)]
    assert [len(one.members) for one in group_members(map(member, names))] == [
        MAX_MEMBERS,
        MAX_MEMBERS,
        1,
    ]


def test_the_same_extension_twice_begins_another_sample():
    assert groups("a.jpg", "a.jpg", "a.txt", "a.txt") == [
        ("a", ["jpg"]),
        ("a", ["jpg", "txt"]),
        ("a", ["txt"]),
    ]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["jpg", "txt", "json", "cls"]))))
def test_every_member_is_in_exactly_one_group(pairs):
    members = [member(f"{key}.{ext}", str(n).encode()) for n, (key, ext) in enumerate(pairs)]
    found = list(group_members(members))
    got = sorted(int(one.data) for group in found for one in group.members.values())
    assert got == list(range(len(pairs)))
    assert all(
        split_name(one.name)[0] == group.key for group in found for one in group.members.values()
    )
    locators = [group.locator for group in found]
    assert len(set(locators)) == len(locators)


@given(st.permutations(range(8)))
def test_contiguous_samples_group_alike_in_any_order(order):
    def read(numbers):
        members = [member(f"{n}.{ext}", str(n).encode()) for n in numbers for ext in ("jpg", "txt")]
        return sorted(
            (g.locator, sorted(m.data for m in g.members.values())) for g in group_members(members)
        )

    assert read(order) == read(range(8))
