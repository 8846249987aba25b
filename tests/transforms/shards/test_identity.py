from __future__ import annotations

import pyarrow as pa
import pytest

from schemas.recipe import ShardSettings, TrainView
from transforms.shards.identity import rows_digest, shard_set_digest


@pytest.fixture
def table(make_corpus):
    (table,) = make_corpus(30, 1).tables.values()
    return table


def name(*tables, settings=None, seed=0):
    settings = settings or ShardSettings()
    return shard_set_digest(settings, seed, [rows_digest(one) for one in tables])


def test_the_name_does_not_depend_on_parts_or_order(table):
    assert name(table) == name(table.slice(0, 11), table.slice(11))
    assert name(table) == name(table.slice(11), table.slice(0, 0), table.slice(0, 11))
    assert name(table) == name(table.take(list(reversed(range(30)))))
    assert len(name(table)) == 16


def test_the_name_depends_on_everything_else(table):
    clusters = pa.array(["f" * 32] * 30)
    index = table.schema.get_field_index("cluster_id")
    names = {
        name(table),
        name(table.slice(1)),
        name(table, seed=1),
        name(table, settings=ShardSettings(samples_per_shard=7)),
        name(table, settings=ShardSettings(train_view=TrainView(short_side=64))),
        name(table.set_column(index, "cluster_id", clusters)),
    }
    assert len(names) == 6
