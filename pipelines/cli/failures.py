"""How a command ends: 0 done, 1 the run failed, 2 the recipe or the command is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from pipelines.recipes import RecipeError
from storage.errors import StorageError
from transforms.decisions.families import MisalignedPartError
from transforms.decisions.ledger import UnbalancedBooksError
from transforms.ingest.inputs import SourceError
from transforms.mixtures.weights import MixtureError

FAILED, WRONG = 1, 2

_WRONG = (RecipeError, SourceError)
_FAILED = (StorageError, UnbalancedBooksError, MisalignedPartError, MixtureError)


@contextmanager
def explained() -> Iterator[None]:
    """Turns the failures that a person can mend into one message and an exit code.

    Anything else is a bug, and ends in a traceback.
    """
    try:
        yield
    except _WRONG as error:
        say(str(error))
        raise typer.Exit(WRONG) from None
    except _FAILED as error:
        say(str(error))
        raise typer.Exit(FAILED) from None


def say(message: str) -> None:
    """Prints a message to standard error."""
    # Beam appends the step's name to the message of what a worker raises.
    message = message.partition(" [while running ")[0]
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(
        f"mixwright: {message}"
    )
