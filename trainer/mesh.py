"""The devices of a run: one data-parallel mesh over every device of every host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "data"
"""Name of the mesh axis that batches are split over."""

Tree = TypeVar("Tree")


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh over the devices, all of them where none are named."""
    chosen = list(devices) if devices is not None else jax.devices()
    return jax.make_mesh(
        (len(chosen),), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,), devices=chosen
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole: parameters, scalars."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of batches: rows over devices."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def to_devices(tree: Tree, mesh: Mesh) -> Tree:
    """Returns this host's rows of a batch as global arrays, split over the mesh.

    Args:
        tree: pytree of numpy arrays with the host's rows on axis 0.
        mesh: of all hosts.
    """
    sharding = split(mesh)

    def put(array: np.ndarray) -> jax.Array:
        placed: jax.Array = jax.make_array_from_process_local_data(sharding, array)
        return placed

    everywhere: Tree = jax.tree.map(put, tree)
    return everywhere
