import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from trainer.towers.apply import Towers
from trainer.towers.frames import uniform_frames
from trainer.towers.settings import SHAPES, ImageTower, Model, TextTower, forward_flops

IMAGE = ImageTower(size="mu/8", resolution=16, pooling="mean")
TEXT = TextTower(size="mu", length=6, vocabulary_size=300)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 16, 16, 3), np.uint8)
IDS = RNG.integers(0, 300, (3, 6)).astype(np.int32)


def model(**changes):
    values = {"query": IMAGE, "positive": TEXT, "width": 16, "precision": "float32"}
    return Model(**(values | changes))


@functools.cache
def towers_of(settings):
    towers = Towers(settings)
    parameters = towers.initial_parameters(jax.random.key(0))
    return towers, parameters, jax.jit(towers.embed, static_argnums=1)


def paths(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    }


@pytest.mark.parametrize("pooling", ["mean", "cls", "attention"])
@pytest.mark.parametrize("registers", [0, 2])
def test_images_embed_to_the_width_asked_for(pooling, registers):
    tower = ImageTower(size="mu/8", resolution=16, pooling=pooling, registers=registers)
    _, parameters, embed = towers_of(model(query=tower))
    embedded = embed(parameters, "query", IMAGES)
    assert embedded.shape == (3, 16)
    assert embedded.dtype == jnp.float32
    assert np.ptp(np.asarray(embedded), axis=0).max() > 0


def test_padding_tokens_change_nothing():
    _, parameters, embed = towers_of(model())
    mask = np.array([[1, 1, 1, 0, 0, 0]] * 3, bool)
    other = np.where(mask, IDS, 7)
    np.testing.assert_array_equal(
        embed(parameters, "positive", IDS, mask), embed(parameters, "positive", other, mask)
    )


def test_a_text_without_tokens_embeds_to_a_finite_vector():
    _, parameters, embed = towers_of(model())
    mask = np.zeros((3, 6), bool)
    assert np.all(np.isfinite(embed(parameters, "positive", IDS, mask)))

    def total(parameters):
        return jnp.sum(towers_of(model())[0].embed(parameters, "positive", IDS, mask))

    gradients = jax.jit(jax.grad(total))(parameters)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))


def test_a_video_is_the_mean_of_its_frames():
    _, parameters, embed = towers_of(model())
    video = np.stack([IMAGES, IMAGES[::-1]], axis=1)
    frames = np.asarray(embed(parameters, "query", IMAGES))
    np.testing.assert_allclose(
        embed(parameters, "query", video), (frames + frames[::-1]) / 2, rtol=1e-5, atol=1e-6
    )


def test_what_each_mode_shares():
    # What is shared is stored once, under the positive tower.
    trees = {mode: paths(towers_of(model(sharing=mode))[1]["query"]) for mode in ("ade", "spl")}
    assert trees["ade"] - trees["spl"] == {"projection/kernel"}
    shared = towers_of(model(sharing="sde"))[1]
    assert {path.split("/")[0] for path in paths(shared["query"])} == {"embedder"}
    one = towers_of(model(query=TEXT, sharing="sde"))
    assert not one[1].get("query")
    mask = np.ones((3, 6), bool)
    np.testing.assert_array_equal(
        one[2](one[1], "query", IDS, mask), one[2](one[1], "positive", IDS, mask)
    )


def test_bfloat16_computes_close_to_float32():
    _, parameters, embed = towers_of(model())
    half = towers_of(model(precision="bfloat16"))[2]
    mask = np.ones((3, 6), bool)
    exact = np.asarray(embed(parameters, "positive", IDS, mask))
    rounded = np.asarray(half(parameters, "positive", IDS, mask))
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(rounded, exact, atol=0.05 * np.abs(exact).max())
    assert not np.array_equal(rounded, exact)


def test_parameters_follow_from_the_key():
    towers, parameters, _ = towers_of(model())
    again, other = (towers.initial_parameters(jax.random.key(seed)) for seed in (0, 1))
    for a, b in zip(jax.tree.leaves(parameters), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(parameters), jax.tree.leaves(other), strict=True)
    )


def test_blocks_of_a_trunk_start_out_different():
    deep = model(query=ImageTower(size="ti/16", resolution=16, pooling="mean"), width=8)
    shapes = jax.eval_shape(Towers(deep).initial_parameters, jax.random.key(0))
    kernel = shapes["query"]["trunk"]["blocks"]["mlp"]["inner"]["kernel"]
    assert kernel.shape == (12, 192, 768)


@pytest.mark.parametrize(
    ("size", "millions"), [("ti/16", 5.5), ("s/16", 21.6), ("b/16", 85.7), ("l/14", 303.2)]
)
def test_named_sizes_hold_the_parameters_that_the_papers_count(size, millions):
    # Published counts are of the trunk with patch embedding, positions and class token.
    tower = ImageTower(size=size, resolution=224, pooling="cls")
    tree = jax.eval_shape(
        Towers(model(query=tower, width=1)).initial_parameters, jax.random.key(0)
    )["query"]
    count = sum(leaf.size for leaf in jax.tree.leaves(tree)) / 1e6
    assert count == pytest.approx(millions, rel=0.01)


def test_flops_of_a_published_model():
    # open_clip's profile: ViT-B/16 at 224 px takes 35.2 GFLOP; products of attention included.
    settings = Model(query=ImageTower(size="b/16", pooling="cls"), positive=TextTower(size="mu"))
    tiny = Model(query=TextTower(size="mu"), positive=TextTower(size="mu"))
    image = (forward_flops(settings) - forward_flops(tiny) / 2) / 1e9
    assert image == pytest.approx(35.2, rel=0.02)
    assert SHAPES["so400m"].mlp == 4304


@pytest.mark.parametrize(
    ("available", "expected"),
    [(16, list(range(16))), (4, [0, 1, 2, 3] * 4), (32, list(range(1, 32, 2))), (1, [0] * 16)],
)
def test_sixteen_uniform_frames(available, expected):
    assert uniform_frames(available, 16).tolist() == expected


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ImageTower(size="xl/16"), "unknown size 'xl'"),
        (lambda: ImageTower(size="b"), "for example b/16"),
        (lambda: ImageTower(size="b/16", resolution=230), "use 224"),
        (lambda: TextTower(size="huge"), "unknown size"),
        (
            lambda: Model(
                query=ImageTower(size="b/16"), positive=TextTower(size="s"), sharing="sde"
            ),
            "towers of one shape",
        ),
        (
            lambda: Model(
                query=ImageTower(size="b/16"), positive=TextTower(size="s"), sharing="spl"
            ),
            "towers of one width",
        ),
        (lambda: model(attention="cudnn"), "needs precision = 'bfloat16'"),
    ],
)
def test_settings_that_cannot_be_built_are_refused(build, message):
    with pytest.raises(ValidationError, match=message):
        build()


def test_images_of_another_size_are_refused():
    towers, parameters, _ = towers_of(model())
    with pytest.raises(ValueError, match="the tower takes"):
        towers.embed(parameters, "query", jnp.zeros((1, 8, 8, 3), jnp.uint8))
