"""The rig: an emulator fed by an oracle, and the bridge's commands between it and a destination."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from netra_otel_bridge.core.clock import SystemClock
from netra_otel_bridge.core.packed_checksums import unpack_spans
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.faults import Fault, FaultEntry, Faults
from netra_otel_bridge.state import StateStore
from tests.support import cli
from tests.support.child import Child
from tests.support.cli import CANARY, Result, environment
from tests.support.compare import Key
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.oracle import MS, Oracle

DAY_NS = 86_400_000 * MS


class Rig:
    """The rig. ``netra`` holds what ``oracle`` issued and `feed` put in; commands run with profile ``raw``, so P3 is exact."""

    def __init__(self, netra: ThreadedEmulator, oracle: Oracle, directory: Path) -> None:
        self.netra = netra
        self.oracle = oracle
        self.directory = directory
        self.endpoint = netra.endpoint

    @property
    def file(self) -> Path:
        """The file that `replay` and `child` write by default."""
        return self.directory / "out.jsonl"

    @property
    def state(self) -> Path:
        """The state directory, for tests that keep a state."""
        return self.directory / "state"

    def feed(self, traces: int = 10, spans: int = 4, **options: Any) -> None:
        """Issue traces and put them into the emulator."""
        self.oracle.feed(self.netra, self.oracle.traces(traces, spans, **options))

    def range(self) -> tuple[str, ...]:
        """Flags of a range that holds every issued span, with a day to spare on both sides."""
        starts = [issues[0].normal["start_ns"] for issues in self.oracle.issued.values()]
        return "--from", iso_ms(min(starts) - DAY_NS), "--until", iso_ms(max(starts) + DAY_NS)

    def environment(self, **env: str) -> dict[str, str]:
        mine = {
            "NETRA_BRIDGE_PROFILE": "raw",
            "NETRA_BRIDGE_WINDOW": "7d",
            "XDG_STATE_HOME": str(self.directory / "state-home"),
        }
        return environment(self.endpoint, **{**mine, **env})

    def arguments(self, to: str | None, *more: str) -> tuple[str, ...]:
        return ("replay", *self.range(), "--to", to or f"otlp-file:{self.file}", "--json", *more)

    def replay(self, to: str | None = None, *more: str, **env: str) -> Result:
        """Run ``replay --json`` in this process."""
        return cli.run(*self.arguments(to, *more), env=self.environment(**env))

    def child(self, to: str | None = None, *more: str, prefix: list[str] | None = None, **env: str) -> Child:
        """Start ``replay --json`` in a process of its own: a context manager."""
        return Child(
            *self.arguments(to, *more), directory=self.directory, env=self.environment(**env), prefix=prefix or []
        )

    def following(self, to: str | None, *more: str) -> tuple[str, ...]:
        """Return the arguments of ``run``: from an hour ago on, ten polls a second, and no time to settle."""
        pace = ("--since", "1h", "--poll", "100ms", "--settle", "0s", "--state", str(self.state))
        return ("run", *pace, "--to", to or f"otlp-file:{self.file}", *more)

    def follower(self, to: str | None = None, *more: str, **env: str) -> Child:
        """Start ``run`` in a process of its own: a context manager."""
        free = {"OTEL_EXPORTER_PROMETHEUS_PORT": "0"}
        return Child(*self.following(to, *more), directory=self.directory, env=self.environment(**{**free, **env}))

    def spoil(self, *faults: Fault) -> None:
        """Put the test's own faults in force, and drop those before."""
        table = {str(number): FaultEntry("", lambda _, fault=fault: fault) for number, fault in enumerate(faults)}
        in_force = Faults(tuple(table), table)
        self.netra.call(lambda: self.netra.emulator.use_faults(in_force))

    def calls(self) -> int:
        """Return how many calls the API got so far."""
        return self.netra.call(lambda: self.netra.emulator.calls.total())

    def statuses(self, status: int) -> int:
        """Return how many answers with that status there were so far."""
        return self.netra.call(lambda: self.netra.emulator.status[status])


@contextmanager
def running_rig(directory: Path, oracle: Oracle | None = None, **options: Any) -> Iterator[Rig]:
    """Yield a rig with an emulator of its own; ``options`` are those of the emulator."""
    with running_emulator(EmulatorOptions(port=0, api_key=CANARY, **options)) as netra:
        yield Rig(netra, Oracle() if oracle is None else oracle, directory)


def recorded(state: Path, trace_ids: Iterable[str]) -> dict[Key, int]:
    """Return the spans of these traces that a state records as acknowledged, with checksums, over all of its
    destinations.

    The state is opened as a copy, as the next start would open it; no process may be using it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, "state")
        if state.exists():
            shutil.copytree(state, copy)
        with closing(StateStore.open(copy, SystemClock())) as store:
            lanes = [store.lane(lane.source, lane.destination) for lane in store.lanes()]
            packed = [(trace_id, lane.spans(trace_id)) for lane in lanes for trace_id in trace_ids]
    return {(trace_id, f"{span_id:016x}"): checksum for trace_id, spans in packed
            for span_id, checksum in unpack_spans(spans).items()}  # fmt: skip


class OnPage(Fault):
    """A fault that calls ``edit(call's name, page)`` on every page, on ``n`` of them at most; ``struck`` counts."""

    def __init__(self, edit: Callable[[str, dict[str, Any]], object], n: int | None = None) -> None:
        self.struck = 0
        self._edit = edit
        self._n = n

    def page(self, call: Any, page: dict[str, Any], /) -> None:
        if self._n is None or self.struck < self._n:
            self.struck += 1
            self._edit(call.name, page)
