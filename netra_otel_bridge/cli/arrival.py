"""``replay --verify-at``: read back what a replay sent, before its checkpoint is deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netra_otel_bridge.bridge.verify import Verification, verify_stores
from netra_otel_bridge.cli import verify as shown
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.reports import report_json, verify_json
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.model.report import ReplayReport
from netra_otel_bridge.state import StateStore

if TYPE_CHECKING:
    from netra_otel_bridge.bridge.bridge import Bridge


def stores(destinations: Sequence[str], given: Sequence[str]) -> list[tuple[str, str]]:
    """Return each destination to verify with its store, from ``AT`` or ``DEST=AT``. Raises `UsageError`."""
    found: list[tuple[str, str]] = []
    for text in given:
        named = [one for one in destinations if text.startswith(f"{one}=")]
        if named:
            destination = max(named, key=len)
            found.append((destination, text[len(destination) + 1 :]))
        elif len(destinations) == 1:
            found.append((destinations[0], text))
        else:
            raise UsageError(
                f"--verify-at {text} does not say which destination is read back there",
                hint=f"write DEST=AT, with one of {', '.join(destinations)} as DEST",
            )
    if len({destination for destination, _ in found}) < len(found):
        raise UsageError("--verify-at names two stores for one destination", hint="give each destination one store")
    return found


def verify(
    bridge: Bridge,
    stores: Sequence[tuple[str, str]],
    window: Window,
    query: TraceQuery,
    state: StateStore,
    report: ReplayReport,
    *,
    show: bool,
    as_json: bool,
) -> int:
    """Verify what was sent, print the result below the report of the replay, and return the worse exit code of both.

    The state of a replay without ``--state`` has nothing but this range, so all of it is verified. Raises the error of a
    store after both reports are printed.
    """
    what = Verification(window=window, queries=(query,), whole_lane=bridge.settings.state is None)
    with shown.progress(show=show) as advance:
        verified, error = shown.outcome(verify_stores(bridge, stores, what, state, on_progress=advance))
    exit_code = worse(report.exit_code, verified.exit_code)
    if as_json:
        write_json({**report_json(report), "verify": verify_json(verified), "exit_code": exit_code})
    else:
        shown.write_report(verified)
    if error is not None:
        raise error
    return exit_code


def worse(*exit_codes: int) -> int:
    """Return the first exit code that is neither 0 nor 3, else the largest."""
    return next((code for code in exit_codes if code not in (0, 3)), max(exit_codes))
