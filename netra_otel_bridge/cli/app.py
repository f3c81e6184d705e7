"""All commands, in the order of ``--help``."""

from __future__ import annotations

from typing import Annotated

import typer

from netra_otel_bridge.cli import check, config, demo, emulator, replay, run, state, status, traces, usage
from netra_otel_bridge.version import __version__

app = typer.Typer(
    name="netra-otel-bridge",
    help="Reads traces and usage from Netra and hands them, as OpenTelemetry, to the tools you already run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"netra-otel-bridge {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version, and nothing else.")
    ] = False,
) -> None:
    """Reads traces and usage from Netra and hands them, as OpenTelemetry, to the tools you already run."""


app.command("replay")(replay.replay)
app.command("run")(run.run)
app.command("check")(check.check)
app.command("status")(status.status)
app.add_typer(state.app, name="state")
app.add_typer(usage.app, name="usage")
app.add_typer(traces.app, name="traces")
app.add_typer(config.app, name="config")
app.command("emulator")(emulator.emulator)
app.command("demo")(demo.demo)
