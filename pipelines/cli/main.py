"""The `mixwright` command."""

from __future__ import annotations

import typer

from pipelines.cli import demo, doctor, fetch, init, look, run, trainer

app = typer.Typer(
    name="mixwright",
    help="Turns noisy image-text pairs into reproducible training mixtures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": False}

app.command("init", rich_help_panel="Run")(init.init)
app.command("run", rich_help_panel="Run", context_settings=_PASS_ON)(run.run)
app.command("demo", rich_help_panel="Run")(demo.demo)
app.command("fetch", rich_help_panel="Run")(fetch.fetch)
app.command("status", rich_help_panel="Look")(look.status)
app.command("ledger", rich_help_panel="Look")(look.ledger)
app.command("explain", rich_help_panel="Look")(look.explain)
app.command("slice", rich_help_panel="Look")(look.slice_)
app.command("verify", rich_help_panel="Look")(look.verify)
for command in (trainer.train, trainer.evaluate, trainer.audit, trainer.export):
    name = command.__name__
    app.command(name, rich_help_panel="Train", context_settings=trainer.PASS_ON)(command)
app.command("doctor", rich_help_panel="Operate")(doctor.doctor)


def main() -> None:
    """Runs the command line."""
    app()


if __name__ == "__main__":
    main()
