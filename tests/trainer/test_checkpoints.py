import jax.numpy as jnp
import numpy as np
import pytest

from trainer.checkpoints import CheckpointError, Checkpoints, Record
from trainer.step import State


def state(value):
    parameters = {"towers": {"kernel": jnp.full((2, 3), value)}, "objectives": {}}
    return State(parameters, (jnp.asarray(value),), jnp.asarray(1, jnp.int32))


@pytest.fixture
def record(make_recipe):
    recipe = make_recipe()
    return Record(
        step=1,
        seed=0,
        manifest="a" * 64,
        tokenizer="b" * 64,
        recipe=recipe.model_dump(mode="json"),
    )


def test_what_is_saved_is_restored(tmp_path, record):
    with Checkpoints(tmp_path / "c", keep=2) as checkpoints:
        assert checkpoints.latest is None
        for step in (1, 2, 3):
            checkpoints.save(state(float(step)), record.model_copy(update={"step": step}))
        checkpoints.wait()
        assert checkpoints.latest == 3
        assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["2", "3"]
        restored = checkpoints.restore(2, state(0.0))
        np.testing.assert_array_equal(restored.parameters["towers"]["kernel"], np.full((2, 3), 2.0))
        assert float(restored.optimiser[0]) == 2.0
        assert checkpoints.record(3) == record.model_copy(update={"step": 3})


def test_a_state_of_other_shapes_is_refused(tmp_path, record):
    other = State({"towers": {"kernel": jnp.zeros((4, 4))}, "objectives": {}}, (), jnp.zeros(()))
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(state(1.0), record)
        checkpoints.wait()
        with pytest.raises(CheckpointError, match="step 1 cannot be restored"):
            checkpoints.restore(1, other)
        with pytest.raises(CheckpointError, match="no readable checkpoint of step 7"):
            checkpoints.record(7)


def test_more_steps_and_another_place_are_the_same_run(record, make_recipe):
    data = make_recipe().data.model_dump() | {"work": "elsewhere", "threads": 9}
    other = make_recipe(steps=900, data=data)
    moved = record.model_copy(update={"recipe": other.model_dump(mode="json")})
    record.check_model(moved)
    record.check_data(moved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"manifest": "c" * 64}, "manifest is aaaaaaaaaaaa, not cccccccccccc"),
        ({"seed": 3}, "seed is 0, not 3"),
    ],
)
def test_other_data_are_named(record, changes, message):
    with pytest.raises(CheckpointError, match=message):
        record.check_data(record.model_copy(update=changes))


def test_another_batch_size_or_objective_is_named(record, make_recipe):
    larger = make_recipe(data={"batch_size": 32}).model_dump(mode="json")
    with pytest.raises(CheckpointError, match="batch_size is 16, not 32"):
        record.check_data(record.model_copy(update={"recipe": larger}))
    other = make_recipe(preset="siglip").model_dump(mode="json")
    with pytest.raises(CheckpointError, match="preset is 'clip', not 'siglip'"):
        record.check_model(record.model_copy(update={"recipe": other}))
    with pytest.raises(CheckpointError, match="tokenizer is bbbbbbbbbbbb, not dddddddddddd"):
        record.check_model(record.model_copy(update={"tokenizer": "d" * 64}))


def test_a_recipe_of_an_older_version_takes_todays_defaults(record):
    recipe = {**record.recipe, "data": dict(record.recipe["data"])}
    del recipe["data"]["top_steps"]
    older = record.model_copy(update={"recipe": recipe})
    older.check_data(record)
    unknown = record.model_copy(update={"recipe": {**recipe, "novelty": 1}})
    with pytest.raises(CheckpointError, match="of another version"):
        unknown.training_recipe()
