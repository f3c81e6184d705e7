"""``check``: test Netra and each destination, one line each."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from netra_otel_bridge.bridge.canary import DEFAULT_BYTES, MAX_BYTES, MIN_BYTES, Canary, canaries
from netra_otel_bridge.bridge.check import check as check_all
from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.output import out
from netra_otel_bridge.cli.replay import refuse_console
from netra_otel_bridge.cli.signals import run
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.readback import BESIDE, SUMMED


def check(
    to: options.To = None,
    send: Annotated[bool, typer.Option("--send", help="Send one test span to each destination.")] = False,
    canary: Annotated[
        bool, typer.Option("--canary", help="Send one marked trace, and look for it in the store: by id and by search.")
    ] = False,
    at: Annotated[
        list[str] | None,
        typer.Option(
            "--at",
            metavar="[DEST=]AT",
            help="With --canary: where to read it back, such as jaeger+grpc://HOST:16685 (repeatable).",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="T", help="With --send or --canary: start time of the spans (default: 24h ago)."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=MIN_BYTES, max=MAX_BYTES, metavar="BYTES", help="With --canary: size of the trace (default: 100000)."
        ),
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
    if since is not None and not (send or canary):
        raise UsageError("--since applies only to the spans of --send and --canary", hint="add one, or omit --since")
    if (at or size is not None) and not canary:
        raise UsageError("--at and --size apply only to --canary", hint="add --canary, or omit them")
    if send and as_json:
        refuse_console(bridge, bridge.destinations())
    checks = run(check_all(bridge, send_since=(since or "24h") if send else None))
    sent: list[Canary] = []
    if canary and all(one.ok for one in checks[1:]):
        sent = run(
            canaries(
                bridge, tuple(to) if to else None, at or (), since=since or "24h", size_bytes=size or DEFAULT_BYTES
            )
        )
    exit_code = next(
        (code for code in (*(one.exit_code for one in checks), *(one.exit_code for one in sent)) if code), 0
    )
    if as_json:
        document: dict[str, object] = {"checks": [asdict(one) for one in checks]}
        if canary:
            document["canaries"] = [_canary_json(one) for one in sent]
        write_json({**document, "exit_code": exit_code})
        return exit_code
    for one in checks:
        unknown = f"; not known: {one.unknown}" if one.ok and one.unknown else ""
        word, style = ("failed", "red") if not one.ok else ("ok", "green") if one.sure else ("unsure", "yellow")
        out.print(f"[{style}]{word:6}[/] ", end="")
        out.print(f"{one.name}: {one.said}{unknown}", soft_wrap=True, markup=False)
    for found in sent:
        word, style = ("ok", "green") if found.ok else ("failed", "red")
        out.print(f"[{style}]{word:6}[/] ", end="")
        out.print(f"{found.name} at {found.at}: {found.said[0]}; trace {found.trace_id}", soft_wrap=True, markup=False)
        for line in found.said[1:]:
            out.print(f"       {line}", soft_wrap=True, markup=False)
    return exit_code


def _canary_json(canary: Canary) -> dict[str, object]:
    report = canary.report
    counts: dict[str, object] = {kind: 0 if report is None else getattr(report, kind) for kind in (*SUMMED, *BESIDE)}
    return {
        "name": canary.name,
        "at": canary.at,
        "trace_id": canary.trace_id,
        "ok": canary.ok,
        "said": list(canary.said),
        **counts,
        "exit_code": canary.exit_code,
    }
