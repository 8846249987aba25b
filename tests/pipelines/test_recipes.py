from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.recipes import (
    RecipeError,
    load_profile,
    load_recipe,
    lock_bytes,
    open_release,
    profile_names,
    read_lock,
    resolve,
)
from schemas import layout
from schemas.recipe import Recipe
from storage.folders import open_folder

TEXT = """
name = "mine"

[[sources]]
name = "web"
type = "table"
path = "data/web.parquet"
media_root = "media"

[[sources]]
name = "cloud"
type = "folder"
path = "gs://bucket/images"

[ingest.block]
sha256 = ["block/sha256.txt", "/lists/more.txt"]

[select]
extends = "align-2021"
without = ["text_rare_ngram"]

[[select.rules]]
signal = "image.short_side_px"
keep = "> 300"
reason = "image_too_small"

[[select.rules]]
signal = "text.emails"
keep = "== 0"
reason = "text_personal_data"

[[mixtures]]
name = "half"
weights = { web = 1, cloud = 1 }
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def rules(recipe):
    return [(rule.reason, rule.keep) for rule in recipe.select.rules]


def test_local_paths_are_taken_from_the_folder_of_the_recipe(path, tmp_path):
    recipe = load_recipe(path)
    web, cloud = recipe.sources
    assert web.path == str(tmp_path / "data" / "web.parquet")
    assert web.media_root == str(tmp_path / "media")
    assert cloud.path == "gs://bucket/images"
    assert recipe.ingest.block.sha256 == (str(tmp_path / "block/sha256.txt"), "/lists/more.txt")


def test_a_home_folder_is_expanded(path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    path.write_text(TEXT.replace("data/web.parquet", "~/web.parquet"), encoding="utf-8")
    assert load_recipe(path).sources[0].path == "/home/ann/web.parquet"


def test_a_profile_comes_first_and_own_rules_take_the_place_of_its(path):
    assert rules(load_recipe(path)) == [
        ("image_too_small", "> 300"),
        ("image_aspect", "< 3"),
        ("image_alt_texts", "<= 1000"),
        ("text_shared", "<= 10"),
        ("text_too_short", ">= 3"),
        ("text_too_long", "<= 20"),
        ("text_personal_data", "== 0"),
    ]


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_resolves_and_says_where_its_rules_come_from(name):
    profile = load_profile(name)
    assert profile["name"] == name
    assert profile["description"].strip()
    recipe = resolve(
        {
            "name": "x",
            "sources": [{"name": "a", "type": "folder", "path": "a"}],
            "select": {"extends": name},
        }
    )
    assert len(recipe.select.rules) == len(profile["rules"]) > 3
    assert all(rule.basis.endswith(".") for rule in recipe.select.rules)
    assert recipe.select.extends == ""


@pytest.mark.parametrize(
    ("setting", "read", "value"),
    [
        ("seed=9", lambda recipe: recipe.seed, 9),
        ("shard.samples_per_shard=500", lambda recipe: recipe.shard.samples_per_shard, 500),
        ("sources.web.licence=CC0", lambda recipe: recipe.sources[0].licence, "CC0"),
        ("sources.1.licence='a b'", lambda recipe: recipe.sources[1].licence, "a b"),
        ("mixtures.half.interleave=true", lambda recipe: recipe.mixtures[0].interleave, True),
        ("dedupe.edges=[]", lambda recipe: recipe.dedupe.edges, ()),
        ("text_too_short=>= 4", lambda recipe: rules(recipe)[4], ("text_too_short", ">= 4")),
        ("image.aspect_ratio=< 2", lambda recipe: rules(recipe)[1], ("image_aspect", "< 2")),
        ("card.title=1 = 1", lambda recipe: recipe.card.title, "1 = 1"),
        ("select.extends=permissive", lambda recipe: len(rules(recipe)) > 8, True),
    ],
)
def test_settings_change_fields_and_rules(path, setting, read, value):
    if setting.startswith("select.extends"):
        path.write_text(TEXT.replace('without = ["text_rare_ngram"]', ""), encoding="utf-8")
    assert read(load_recipe(path, [setting])) == value


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed", "--set 'seed': write KEY=VALUE"),
        ("seed=-1", "seed: is -1: input should be greater than or equal to 0"),
        ("sead=1", "sead: there is no such field; check its spelling"),
        ("sources.art.path=x", "there is no 'art'; use one of web, cloud"),
        ("sources.7.path=x", "there is no '7'; use one of web, cloud"),
        ("name.first=x", "'first' is below a plain value"),
        ("name.first.second=x", "'first' is below a plain value; name a field"),
        ("text_mojibake=is true", "it must name one rule, and names none; reasons are image_al"),
        ("text.unigrams=> 3", "names text_too_short (>= 3), text_too_long (<= 20); reasons"),
        ("text_too_short=many", "keep = 'many' is not understood; write one of"),
        ("select.extends=clip", "no such profile; use one of align-2021, conceptual-captions, per"),
        ("select.without=['text_mojibake']", "which is no reason of the profile 'align-2021'"),
        ("select.without=text_shared", "select.without"),
        ("select.rules=[3]", "select.rules.6: is 3: input should be a valid dictionary"),
        ("select=3", "select: is 3"),
        ("select.extends=[1]", "select.extends"),
        ("sources=3", "sources: is 3"),
        ("sources.web.type=video", "sources.0"),
        ("mixtures.half.weights={other=1}", "weighs the unknown source 'other'; sources are web"),
        ("sources.cloud.name=web", "source 'web' is named twice; rename one"),
    ],
)
def test_a_wrong_setting_says_what_to_write(path, setting, message):
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, [setting])
    assert message in str(caught.value)


def test_every_wrong_field_has_a_line_of_its_own(path):
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, ["seed=-1", "shard.samples_per_shard=0", "sources.web.file='x'"])
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{path}: ") for line in lines)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "does not exist; `mixwright init DATA` writes one"),
        (b"name = ", "is not a TOML file: Invalid value"),
        (b"name = '\xff'", "is not a TOML file: 'utf-8' codec"),
        (b"", "name: is missing; add it"),
        (b"name = 'A b'\nsources = []", "'A b' is not a name: use 1 to 63 of a-z"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path, data, message):
    path = tmp_path / "recipe.toml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert message in str(caught.value)
    with pytest.raises(RecipeError, match="is not a TOML file"):
        load_recipe(tmp_path)


def test_a_lock_gives_the_recipe_back_byte_for_byte(path, tmp_path):
    recipe = load_recipe(path, ["shard.train_view={short_side = 256}", "text_too_long=<= 30"])
    data = lock_bytes(recipe)
    folder = open_folder(str(tmp_path / "work"))
    folder.create(layout.LOCK, data)
    again = read_lock(folder)
    assert again == recipe
    assert lock_bytes(again) == data
    assert recipe.digest() in data.decode().splitlines()[0]
    assert tomllib.loads(data.decode())["select"]["extends"] == ""
    assert open_release(str(tmp_path / "work")).recipe == recipe


def test_a_folder_without_a_lock_is_no_work_directory(tmp_path):
    with pytest.raises(RecipeError, match=r"is not a work directory: it has no recipe\.lock\.toml"):
        open_release(str(tmp_path))
    with pytest.raises(RecipeError, match="is not a path; write a path or gs://"):
        open_release("")


plain = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["", "web", "> 3", "a.b", "\0"])
)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [*Recipe.model_fields, "extends", "without", "rules", "path", "reason"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
keys = st.lists(
    st.sampled_from([*Recipe.model_fields, "web", "rules", "0", "extends", "without", "x"]),
    min_size=1,
    max_size=3,
).map(".".join)


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(list(Recipe.model_fields)), values), keys, plain)
def test_whatever_is_written_there_is_a_recipe_or_an_error_that_explains(fields, key, value):
    sources = [{"name": "web", "type": "folder", "path": "x"}]
    written = {"name": "x", "sources": sources} | fields
    try:
        recipe = resolve(written, [f"{key}={value}", "text_too_short=> 3"][: 1 + len(fields) % 2])
    except RecipeError as error:
        assert str(error)
    else:
        assert resolve(tomllib.loads(lock_bytes(recipe).decode())) == recipe


def test_the_recipe_of_the_demo_resolves():
    demo = Path(__file__).parents[2] / "examples" / "demo" / "recipe.toml"
    assert load_recipe(demo).name == "demo"
