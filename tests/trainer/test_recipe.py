from pathlib import Path

import pytest

from trainer.recipe import RecipeError, load_recipe

TOML = """
[mixture]
unrelated = true

[train]
steps = 100
preset = "align"

[train.data]
work = "out"
batch_size = 32

[train.model]
width = 64

[train.model.query]
kind = "image"
size = "ti/16"
resolution = 64
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_is_read_with_paths_beside_it(tmp_path):
    recipe = load_recipe(write(tmp_path, TOML))
    assert recipe.data.work == str(tmp_path / "out")
    assert recipe.losses[0].smoothing == 0.1
    assert recipe.widths == (64,)
    changed = load_recipe(tmp_path / "recipe.toml", {"data.work": "here", "steps": 7})
    assert (changed.data.work, changed.steps) == ("here", 7)


def test_the_digest_leaves_out_where_data_lie(tmp_path):
    one = load_recipe(write(tmp_path, TOML))
    moved = load_recipe(tmp_path / "recipe.toml", {"data.work": "gs://bucket/out"})
    other = load_recipe(tmp_path / "recipe.toml", {"steps": 7})
    assert one.digest() == moved.digest() != other.digest()


OBJECTIVES = """
[train]
[[train.objectives]]
kind = "softmax"
{}
[[train.objectives]]
kind = "softmax"
name = "{}"
[train.model]
width = 64
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]", "name a preset, or list objectives"),
        ("[train]\npreset = 'align'\n[train.data]\nbatch_size = 1", r"train\.data\.batch_size"),
        ("[train]\npreset = 'align'\naccumulate = 3", "no multiple of accumulate 3"),
        ("[train]\npreset = 'align'\nwarmup = 3", r"train\.warmup: Extra inputs"),
        ("[train]\npreset = 'embedding-gemma'", "go together"),
        (OBJECTIVES.format("", ""), "two objectives are called 'softmax'"),
        (OBJECTIVES.format("widths = [128]", "b"), r"width 128 is above model\.width 64"),
        (OBJECTIVES.format("hard_negatives = true", "b"), "inputs.negative_text go together"),
        (
            "[train]\npreset = 'align'\n[train.inputs.prompts]\nweb = 'query:'",
            "prompt of source 'web' lacks {text}",
        ),
        (
            "[train]\npreset = 'align'\n[train.model.query]\nkind = 'text'",
            "set inputs.query_text",
        ),
        (
            "[train]\npreset = 'align'\n[train.model.positive]\nkind = 'image'",
            "a sample holds one image",
        ),
        (
            "[train]\npreset = 'align'\n[train.data]\nsampler = 'balanced'\nsingle_source = true",
            "chooses the sources itself",
        ),
        (
            "[train]\npreset = 'align'\nsteps = 5\n[train.optimiser]\nwarmup_steps = 5",
            "does not end within 5 steps",
        ),
    ],
)
def test_a_recipe_that_cannot_run_names_field_and_remedy(text, message, tmp_path):
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path, text))


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        load_recipe(tmp_path / "none.toml")
