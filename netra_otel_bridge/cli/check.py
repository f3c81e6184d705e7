"""``check``: test Netra and each destination, one line each."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from netra_otel_bridge.bridge.check import check as check_all
from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.output import out
from netra_otel_bridge.cli.replay import refuse_console
from netra_otel_bridge.cli.signals import run
from netra_otel_bridge.core.errors import UsageError


def check(
    to: options.To = None,
    send: Annotated[bool, typer.Option("--send", help="Send one test span to each destination.")] = False,
    since: Annotated[
        str | None, typer.Option(metavar="T", help="With --send: start time of the span (default: 24h ago).")
    ] = None,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Test that Netra and each destination can be used.

    Each must be reachable and accept the credentials; a destination must also accept what will be sent.
    """
    bridge = options.start(config_file, verbose, quiet, to=tuple(to) if to else None)
    if since is not None and not send:
        raise UsageError("--since applies only to the test span of --send", hint="add --send, or omit --since")
    if send and as_json:
        refuse_console(bridge, bridge.destinations())
    checks = run(check_all(bridge, send_since=(since or "24h") if send else None))
    exit_code = next((one.exit_code for one in checks if one.exit_code), 0)
    if as_json:
        write_json({"checks": [asdict(one) for one in checks], "exit_code": exit_code})
        return exit_code
    for one in checks:
        unknown = f"; not known: {one.unknown}" if one.ok and one.unknown else ""
        word, style = ("failed", "red") if not one.ok else ("ok", "green") if one.sure else ("unsure", "yellow")
        out.print(f"[{style}]{word:6}[/] ", end="")
        out.print(f"{one.name}: {one.said}{unknown}", soft_wrap=True, markup=False)
    return exit_code
