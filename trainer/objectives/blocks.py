"""Losses over a B x B score matrix that is never held: rows in blocks, batch over devices.

Each device keeps its own rows and gathers every candidate (ALIGN: "embeddings all-gathered"). Rows
are then visited in blocks that the backward pass recomputes, so that memory is O(block x B), not
O(B x B / devices). Recomputing costs about a thousandth of the towers' work at B = 32,768.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

Rows = TypeVar("Rows")
Columns = TypeVar("Columns")
Shared = TypeVar("Shared")


@dataclasses.dataclass(frozen=True)
class Blocking:
    """How a score matrix is cut.

    Attributes:
        rows: rows per block.
        mesh: mesh whose axis `axis` the batch is sharded over; None on a single device.
        axis: name of the mesh axis.
    """

    rows: int = 256
    mesh: Mesh | None = None
    axis: str = "data"


def row_numbers(size: int) -> jax.Array:
    """Returns int32 [size], 1-based, so that the zeros of padding equal no row."""
    return jnp.arange(1, size + 1, dtype=jnp.int32)


def map_rows(
    function: Callable[[Rows, Columns, Shared], jax.Array],
    rows: Rows,
    columns: Columns,
    shared: Shared,
    blocking: Blocking,
) -> jax.Array:
    """Returns float32 [B]: `function` applied to blocks of rows against all columns.

    Args:
        function: takes a block of rows (leading axis r), all columns (leading axis at least B) and
            the shared values; returns float32 [r]. Rows and columns of padding are all zeros, so
            columns carry a mask.
        rows: pytree of arrays with leading axis B.
        columns: likewise.
        shared: pytree of replicated arrays.
        blocking: block size and mesh.
    """
    size = jax.tree.leaves(rows)[0].shape[0]

    def local(rows: Rows, columns: Columns, shared: Shared) -> jax.Array:
        return _map_blocks(function, rows, columns, shared, blocking.rows)

    if blocking.mesh is None:
        return local(rows, columns, shared)

    def on_device(rows: Rows, columns: Columns, shared: Shared) -> jax.Array:
        gathered: Columns = jax.tree.map(
            lambda a: jax.lax.all_gather(a, blocking.axis, tiled=True), columns
        )
        return local(rows, gathered, shared)

    devices = blocking.mesh.shape[blocking.axis]
    split = PartitionSpec(blocking.axis)
    mapped = jax.shard_map(
        on_device,
        mesh=blocking.mesh,
        in_specs=(split, split, PartitionSpec()),
        out_specs=split,
    )
    values: jax.Array = mapped(_pad(rows, devices), _pad(columns, devices), shared)
    return values[:size]


def _map_blocks(
    function: Callable[[Rows, Columns, Shared], jax.Array],
    rows: Rows,
    columns: Columns,
    shared: Shared,
    block: int,
) -> jax.Array:
    size = jax.tree.leaves(rows)[0].shape[0]
    block = min(block, size)
    blocks = jax.tree.map(
        lambda a: a.reshape(a.shape[0] // block, block, *a.shape[1:]), _pad(rows, block)
    )
    values: jax.Array = jax.lax.map(
        jax.checkpoint(lambda one: function(one, columns, shared)), blocks
    )
    return values.reshape(-1)[:size]


def _pad(tree: Rows, multiple: int) -> Rows:
    """Returns the arrays padded with zeros to a multiple of rows."""

    def pad(array: jax.Array) -> jax.Array:
        missing = -array.shape[0] % multiple
        return jnp.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1))

    padded: Rows = jax.tree.map(pad, tree)
    return padded
