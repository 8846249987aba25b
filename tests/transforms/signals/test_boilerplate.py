import json
import time
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.signals import boilerplate
from transforms.signals.boilerplate import Kind, boilerplate_kind

DEMO = Path(__file__).parents[3] / "examples" / "demo"
PHRASES = tomllib.loads(
    (Path(boilerplate.__file__).with_name("data") / "boilerplate.toml").read_text("utf-8")
)


@pytest.mark.parametrize(
    ("kind", "texts"),
    {
        "file_name": [
            "IMG_1234.JPG", "IMG_5109", "DSC_0012", "DSC00012", "P1010023.JPG", "_MG_1234.jpg",
            "IMG-20190503-WA0012.jpg", "PXL_20210101_101010101.MP.jpg", "20140312_014138.jpg",
            "WhatsApp Image 2019-05-03 at 10.11.12.jpeg", "Screenshot 2020-01-01 at 9.10.10 PM.png",
            "10671350_1234567_n.jpg", "image001.png", "1.jpg", "IMG_1234-150x150.jpg",
            "untitled.png",
            "/uploads/2014/IMG_1234.jpg", "d41d8cd98f00b204e9800998ecf8427e",
            "d41d8cd98f00b204e9800998ecf8427e.jpg", "e1c27488-14f6-4478-ab87-d36af60e34d3",
        ],
        "size": [
            "1920x1080", "1920 × 1080", "(300 × 200)", "150x150px", "800px", "1.2 MB", "35 KB",
        ],
        "placeholder": [
            "image", "Image", "Untitled", "photo", "alt_img", "Image 3 of 12", "Photo #7", "n/a",
            "No image available", "John's profile photo", "Profile picture of Jane", "undefined",
            "HASH(0x86d2470)", "[object Object]", "{{ title }}", "${alt}", "Bild 5", "imagen",
            "Изображение 5", "画像", "图片", "사진", "صورة", "รูปภาพ", "चित्र", "εικόνα",
        ],
        "permalink": [
            "embedded image permalink", "Sunset at the beach - Embedded image permalink",
            "Embedded image permalink for this tweet", "Permalink",
        ],
        "enlarge": [
            "Click to enlarge", "(click to enlarge picture)", "Tap to zoom", "Bild vergrößern",
            "Cliquez pour agrandir", "Haz clic para ampliar", "Нажмите, чтобы увеличить",
            "クリックで拡大", "点击放大",
        ],
        "stock": [
            "Stock photo", "stock image #12345", "Royalty-free stock photo", "Shutterstock 123456",
            "Lizenzfreies Bild", "写真素材",
        ],
    }.items(),
)  # fmt: skip
def test_boilerplate(kind: str, texts: list[str]) -> None:
    for text in texts:
        assert boilerplate_kind(text) == kind, text
        assert boilerplate_kind(f"  {text.upper()}\n") == kind, text


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "A photo of a dog", "Eiffel Tower at night - click to enlarge",
        "Happy family stock photo", "Placidochromis_electra_Aquarium_fish_stock_photo.jpg",
        "Venus_globe_-_transparent_background.png", "Burj.jpg", "Plier01.jpg", "MET_DP324688.jpg",
        "Cow-IMG_2050.JPG", "Mont_Saint-Michel_IMG_5109_(48875955288).jpg", "facade.jpg", "decade",
        "F-16.jpg", "B52.jpg", "A380.jpg", "4x4", "10 x 4 cm board", "WP 8", "2004", "20051010",
        "Map", "logo", "Imagine", "Canada", "Dodge Neon.", "Python 3.11", "Photograph of Lincoln",
        "profile photography tips", "0x86d2470", "拍照", "Bildung",
    ],
)  # fmt: skip
def test_what_says_something_is_not_boilerplate(text: str) -> None:
    assert boilerplate_kind(text) == ""


def test_captions_of_the_demo_are_not_boilerplate() -> None:
    lines = (DEMO / "manifest.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    texts = {record.get(field) for record in records
             for field in ("source_filename", "title", "description")} - {None, ""}  # fmt: skip
    assert len(texts) > 300
    assert {text for text in texts if boilerplate_kind(text)} == {
        "HASH(0x86d2470)",
        "HASH(0x89fd810)",
    }


def test_every_listed_phrase_has_its_kind() -> None:
    for kind, languages in PHRASES["whole"].items():
        assert kind in get_args(Kind)
        for phrase in (phrase for phrases in languages.values() for phrase in phrases):
            assert boilerplate_kind(phrase) == kind, phrase
    for kind, phrases in PHRASES["edges"].items():
        for phrase in phrases:
            assert boilerplate_kind(f"{phrase} of a cat") == kind
            assert boilerplate_kind(f"A cat's {phrase}") == kind
            assert boilerplate_kind(f"a {phrase} of a cat") == ""
            assert boilerplate_kind(f"a cat {phrase}s") == ""


def test_long_texts_are_looked_at_at_their_edges() -> None:
    story = "A long story of a cat and a dog. " * 30
    assert boilerplate_kind(story) == ""
    assert boilerplate_kind(f"{story} Embedded image permalink") == "permalink"
    assert boilerplate_kind(f"Profile photo. {story}") == "placeholder"


@given(st.text(st.characters(exclude_categories=[])))
def test_any_string_has_a_kind(text: str) -> None:
    assert boilerplate_kind(text) in get_args(Kind)


@pytest.mark.parametrize("unit", ["a", "1", "f0", "1.", "{{", "(0x", "img_", " ", "é", "_"])
def test_time_is_linear(unit: str) -> None:
    begin = time.process_time()
    for length in range(200):
        boilerplate_kind((unit * length)[:199] + ".jpg")
    boilerplate_kind(unit * 1_000_000)
    assert time.process_time() - begin < 2
