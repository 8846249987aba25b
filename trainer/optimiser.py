"""AdamW with warm-up, a schedule, clipping, and decay of matrices only (Optax)."""

from __future__ import annotations

from typing import Any

import jax
import optax

from trainer.recipe import Optimiser

DECAYED = frozenset({"kernel", "table", "projection"})
"""Names of the parameters that weight decay applies to: the matrices."""


def learning_rate(settings: Optimiser, steps: int) -> optax.Schedule:
    """Returns the learning rate as a function of the step, from 0, over a run of `steps`."""
    peak, final = settings.learning_rate, settings.learning_rate * settings.final
    warmup = settings.warmup_steps
    rest = steps - warmup
    after: optax.Schedule
    if settings.schedule == "cosine":
        after = optax.cosine_decay_schedule(peak, rest, alpha=settings.final)
    elif settings.schedule == "wsd":
        decay = min(rest, max(1, round(settings.decay * steps)))
        after = optax.linear_schedule(peak, final, decay, transition_begin=rest - decay)
    else:
        after = optax.constant_schedule(peak)
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def make_optimiser(settings: Optimiser, steps: int) -> optax.GradientTransformation:
    """Returns clipping by global norm, then AdamW with decoupled decay."""
    return optax.chain(
        optax.clip_by_global_norm(settings.clip),
        optax.adamw(
            learning_rate(settings, steps),
            b1=settings.beta1,
            b2=settings.beta2,
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            mask=decay_mask,
        ),
    )


def decay_mask(parameters: Any) -> Any:
    """Returns the tree of parameters with True where weight decay applies."""

    def decayed(path: tuple[Any, ...], _: Any) -> bool:
        return str(path[-1].key) in DECAYED

    return jax.tree_util.tree_map_with_path(decayed, parameters)
