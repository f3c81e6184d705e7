"""All commands, in the order of ``--help``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from netra_otel_bridge.cli.groups import Command, Group, LazyGroup
from netra_otel_bridge.version import __version__

COMMANDS: dict[str, Command | Group] = {
    "replay": Command("Copy a time range once.", "replay:replay"),
    "verify": Command("Read a destination back and account for every span.", "verify:verify"),
    "run": Command("Follow live traffic and poll usage until stopped.", "run:run"),
    "check": Command("Test that Netra and each destination can be used.", "check:check"),
    "status": Command("Show the progress of each destination.", "status:status"),
    "state": Group(
        "Inspect and reset delivery state.",
        {
            "reset": Command("Reset a destination, so that its traces are sent again.", "state:reset"),
            "held-back": Command("List, retry or give up on the traces that cannot be read.", "state:held_back"),
            "dead-letters": Command("Print the dead letters, one per line.", "state:dead_letters"),
        },
    ),
    "usage": Group(
        "Show or export what tenants and sessions used.",
        {
            "tenant": Command("Show what a tenant used in a time range.", "usage:tenant"),
            "session": Command("Show what a session used in a time range.", "usage:session"),
            "backfill": Command("Export past usage with its original timestamps.", "usage_backfill:backfill"),
        },
    ),
    "traces": Group(
        "List traces, or draw one as a tree.",
        {
            "list": Command("List the traces of a time range, newest first.", "traces:list_traces"),
            "show": Command("Draw one trace as a tree, or print its conversation.", "traces:show"),
        },
    ),
    "config": Group(
        "Show the configuration.",
        {"show": Command("Show each setting and where its value comes from.", "config:show")},
    ),
    "emulator": Command("Run a local Netra to test against.", "emulator:emulator", epilog="FAULT_LINES"),
    "demo": Command("Try a replay on this machine, without an account.", "demo:demo"),
}


class _Root(LazyGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(COMMANDS, **attributes)


app = typer.Typer(
    name="netra-otel-bridge",
    cls=_Root,
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
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Read traces and usage from Netra and send them, as OpenTelemetry, to the tools you already run."""
