"""What a run reads: its mixture, its loader, its tokenizer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import jax

from storage.errors import StorageError
from trainer.loader.loader import Loader
from trainer.loader.mixture import Mixture, open_mixture
from trainer.loader.options import LoaderOptions, Sampling
from trainer.recipe import RecipeError, TrainRecipe
from trainer.sampling import SourceSchedule, source_by_step
from trainer.tokens import Tokenizer, train_tokenizer
from trainer.towers.settings import ImageTower, TextTower

TOKENIZER = "tokenizer.model"
"""Name of the tokenizer below the run's folder."""

LEDGER = "bad_samples"
"""Stem of the ledgers of bad samples below the run's folder, JSONL."""

OPTIONS = "loader.json"
"""Name of the loader's options below the run's folder: `trainer.loader.audit` reads them."""

METRICS = "metrics"
"""Stem of the files of metrics below the run's folder, JSONL."""

_CAPTION_BATCH = 1024


class InputError(Exception):
    """What the recipe names is not there, or cannot be used."""


def open_inputs(recipe: TrainRecipe) -> Mixture:
    """Opens the recipe's mixture.

    Raises:
        InputError: it is missing, empty, or contradicts itself.
    """
    try:
        return open_mixture(recipe.data.work, recipe.data.mixture)
    except (FileNotFoundError, StorageError) as error:
        raise InputError(
            f"there is no mixture {recipe.data.mixture!r} in {recipe.data.work} ({error}); run "
            "`mixwright run`, or name its work directory"
        ) from error
    except ValueError as error:
        raise InputError(str(error)) from error


def make_loader(recipe: TrainRecipe, mixture: Mixture, folder: Path) -> Loader:
    """Returns the loader of this host's rows, and stores its options in the run's folder.

    Texts are tokenised later, with their prompts.

    Raises:
        RecipeError: the recipe's data options do not fit the mixture.
    """
    data, inputs = recipe.data, recipe.inputs
    towers = (recipe.model.query, recipe.model.positive)
    side = next((t.resolution for t in towers if isinstance(t, ImageTower)), None)
    roles = (inputs.query_text, inputs.positive_text, inputs.negative_text)
    teachers = (inputs.teacher_query, inputs.teacher_positive)
    try:
        options = LoaderOptions(
            sampling=sampling(recipe),
            image=None if side is None else data.image.model_copy(update={"size": side}),
            roles=tuple(dict.fromkeys(role for role in roles if role)),
            arrays={name: inputs.teacher_width or 0 for name in teachers if name},
            max_bad_rate=data.max_bad_rate,
            ledger=host_file(folder, LEDGER),
            threads=data.threads,
            cache=Path(data.cache) if data.cache else None,
            host=jax.process_index(),
            hosts=jax.process_count(),
        )
        loader = Loader(mixture, options, schedule=_schedule(recipe, mixture))
    except ValueError as error:
        raise RecipeError(f"train.data: {error}") from error
    if options.host == 0:
        (folder / OPTIONS).write_text(options.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return loader


def host_file(folder: Path, stem: str) -> Path:
    """Returns this host's JSONL file: hosts share the folder, and each writes its own."""
    host = jax.process_index()
    return folder / (f"{stem}.jsonl" if host == 0 else f"{stem}.host{host}.jsonl")


def _schedule(recipe: TrainRecipe, mixture: Mixture) -> SourceSchedule | None:
    """Returns the schedule of the recipe's sampler; None where weights choose."""
    data, sources = recipe.data, mixture.manifest.sources
    if data.sampler is None:
        return None
    sizes = [source.samples for source in sources]
    top = [data.top_steps[source.name] for source in sources if source.name in data.top_steps]
    chosen = source_by_step(data.sampler, recipe.steps, sizes, top)
    return SourceSchedule(chosen, sizes, data.batch_size)


def sampling(recipe: TrainRecipe) -> Sampling:
    """Returns the loader's options that, with the manifest, decide which sample is where."""
    data = recipe.data
    return Sampling(
        batch_size=data.batch_size,
        seed=recipe.seed,
        weights=data.weights,
        temperature=data.temperature,
        max_epochs=data.max_epochs,
        single_source=data.single_source,
        repeats_in_batch=data.repeats_in_batch,
        window=data.window,
    )


def make_tokenizer(recipe: TrainRecipe, mixture: Mixture, folder: Path) -> Tokenizer | None:
    """Returns the run's tokenizer, and stores it in the run's folder; None without a text tower.

    The one in the folder is used where there is one; then the recipe's; else one is trained on the
    mixture, which is the same on every host.

    Raises:
        InputError: the recipe's cannot be read, or none can be trained.
    """
    towers = (recipe.model.query, recipe.model.positive)
    text = [tower for tower in towers if isinstance(tower, TextTower)]
    if not text:
        return None
    length = max(tower.length for tower in text)
    path = folder / TOKENIZER
    given = Path(recipe.tokenizer.path) if recipe.tokenizer.path else None
    try:
        if path.exists():
            return Tokenizer(path.read_bytes(), length)
        if given is not None:
            model = given.read_bytes()
        else:
            size = min(tower.vocabulary_size for tower in text)
            model = train_tokenizer(_captions(recipe, mixture), size)
        tokenizer = Tokenizer(model, length)
    except (OSError, ValueError) as error:
        raise InputError(f"tokenizer: {error}") from error
    if jax.process_index() == 0:
        temporary = path.with_suffix(".part")
        temporary.write_bytes(model)
        temporary.replace(path)
    return tokenizer


def _captions(recipe: TrainRecipe, mixture: Mixture) -> Iterator[str]:
    """Yields up to `tokenizer.captions` texts of the mixture, each at most once."""
    inputs = recipe.inputs
    roles = tuple(dict.fromkeys(role for role in (inputs.query_text, inputs.positive_text) if role))
    # A batch that every source can fill: a source leaves where it has no more for the next one.
    smallest = min(source.samples for source in mixture.manifest.sources)
    options = LoaderOptions(
        sampling=Sampling(
            batch_size=min(_CAPTION_BATCH, smallest),
            seed=recipe.seed,
            weights=recipe.data.weights,
            temperature=recipe.data.temperature,
            max_epochs=1,
            repeats_in_batch=True,
            window=recipe.data.window,
        ),
        image=None,
        roles=roles,
        max_bad_rate=1.0,
        threads=recipe.data.threads,
        cache=Path(recipe.data.cache) if recipe.data.cache else None,
    )

    def texts() -> Iterator[str]:
        with Loader(mixture, options) as loader:
            for batch in loader.iterate():
                columns = [batch.texts, *(batch.extra[role].texts for role in roles)]
                yield from (text for row in zip(*columns, strict=True) for text in row if text)

    return itertools.islice(texts(), recipe.tokenizer.captions)
