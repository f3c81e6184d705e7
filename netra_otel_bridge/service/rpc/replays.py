"""Replays that callers start. They run in the server, whether or not anyone watches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from netra_otel_bridge.bridge.bridge import Bridge
from netra_otel_bridge.core.errors import BridgeError, PartialReport
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.model.report import LaneReport, ReplayReport
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.service.rpc import messages
from netra_otel_bridge.service.rpc.errors import Code, StatusError, invalid
from netra_otel_bridge.state import checkpoint
from netra_otel_bridge.v1 import bridge_pb2 as pb

MAX_RUNNING = 4
MAX_KEPT = 100
WATCH_S = 0.3
"""The shortest time between two messages to a watcher."""
_log = logging.getLogger(__name__)


class Replay:
    """One replay. ``work`` is its task; ``changed`` is set, and replaced, with each change."""

    def __init__(self, replay_id: str, window: Window, targets: Sequence[str], now_ns: int) -> None:
        self.id = replay_id
        self.window = window
        self.targets = tuple(targets)
        self.started_ns = now_ns
        self.ended_ns = 0
        self.state: pb.ReplayState.ValueType = pb.REPLAY_STATE_RUNNING
        self.reports: dict[str, LaneReport] = {}
        self.error: BridgeError | None = None
        self.work: asyncio.Task[None] | None = None
        self.changed = asyncio.Event()

    def progress(self, report: LaneReport) -> None:
        """Record that a lane's report grew."""
        self.reports[report.name] = report
        self.notify()

    def notify(self) -> None:
        """Wake all tasks that wait for ``changed``."""
        self.changed.set()
        self.changed = asyncio.Event()

    def message(self) -> pb.Replay:
        """Return its current state as a message."""
        return pb.Replay(
            id=self.id,
            state=self.state,
            range=messages.range_message(self.window),
            started_time=messages.timestamp(self.started_ns),
            ended_time=messages.timestamp(self.ended_ns),
            destinations=[
                messages.replay_progress(self.reports.get(name) or LaneReport(name)) for name in self.targets
            ],
            error=messages.problem(self.error),
        )


class Replays:
    """All running replays, and the latest `MAX_KEPT` that ended. Each has its own checkpoint."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._replays: dict[str, Replay] = {}

    async def start(self, window: Window, query: TraceQuery, names: Sequence[str], *, verify: bool) -> Replay:
        """Start a replay, or return the running one that does the same. Raises `StatusError`, `BridgeError`."""
        targets = self._targets(names)
        typed = f"grpc {window.start_ns} {window.end_ns}{' verify' if verify else ''}"
        replay_id = self._bridge.checkpoint_directory(targets, query, typed).name
        directory = self._bridge.state_directory() / "replays" / replay_id
        before = self._replays.get(replay_id)
        while before is not None and before.work is not None and not before.work.done():
            if not before.work.cancelling():
                return before
            await asyncio.wait({before.work})
            before = self._replays.get(replay_id)
        if sum(replay.state == pb.REPLAY_STATE_RUNNING for replay in self._replays.values()) >= MAX_RUNNING:
            message = f"{MAX_RUNNING} replays are running, which is the limit"
            raise StatusError(Code.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS", message, retry_s=30.0)
        replay = Replay(replay_id, window, targets, self._bridge.clock.now_ns())
        replay.work = asyncio.create_task(self._run(replay, query, directory, verify))
        self._replays.pop(replay_id, None)
        self._replays[replay_id] = replay
        self._forget()
        return replay

    def find(self, replay_id: str) -> Replay:
        """Return a replay by its id. Raises `StatusError`."""
        replay = self._replays.get(replay_id)
        if replay is None:
            raise StatusError(
                Code.NOT_FOUND,
                "REPLAY_NOT_FOUND",
                f"there is no replay {replay_id[:64]!r}",
                hint="after a restart of the server, start it again to resume it",
            )
        return replay

    def all(self) -> list[Replay]:
        """Return all replays, the newest first."""
        return list(reversed(self._replays.values()))

    @staticmethod
    async def cancel(replay: Replay) -> None:
        """Cancel a replay; when this returns, what was delivered is recorded."""
        if replay.work is not None and not replay.work.done():
            replay.work.cancel()
            await asyncio.wait({replay.work})

    async def close(self) -> None:
        """Cancel all replays at once; each waits some seconds for its batches in flight."""
        await asyncio.gather(*map(self.cancel, self.all()))

    def _targets(self, names: Sequence[str]) -> list[str]:
        """Return the destinations. The configuration must name each: callers cannot send data anywhere else."""
        settings = self._bridge.settings
        known = {*settings.to, *settings.destinations}
        for name in names:
            if name not in known:
                raise invalid(
                    f"there is no destination {name[:200]!r} in the server's configuration",
                    hint=f"it has {', '.join(sorted(known))}",
                    reason="DESTINATION_UNKNOWN",
                )
        return list(dict.fromkeys(names)) or list(self._bridge.destinations())

    async def _run(self, replay: Replay, query: TraceQuery, directory: Path, verify: bool) -> None:
        report: PartialReport | None = None
        try:
            report = await self._copy(replay, query, directory, verify)
            state = pb.REPLAY_STATE_DONE
        except asyncio.CancelledError:
            state = pb.REPLAY_STATE_CANCELLED
        except BridgeError as error:
            state, report = pb.REPLAY_STATE_FAILED, error.report
            replay.error = None if report is not None else error
        except Exception as error:  # noqa: BLE001  the boundary of a task that nobody awaits
            state = pb.REPLAY_STATE_FAILED
            replay.error = BridgeError(f"a bug in the bridge: {type(error).__name__}", hint="its log has more")
            _log.exception("the replay %s failed", replay.id)
        if report is not None:
            replay.reports = {lane.name: lane for lane in report.destinations}
            if letters := sum(lane.dead_lettered + lane.kept for lane in report.destinations):
                _log.warning(
                    "the replay %s ended with %d dead letters, see: netra-otel-bridge state dead-letters --state %s",
                    replay.id, letters, directory,
                )  # fmt: skip
            if held := sum(lane.held_back for lane in report.destinations):
                _log.warning(
                    "the replay %s holds %d traces back, see: netra-otel-bridge state held-back --state %s",
                    replay.id, held, directory,
                )  # fmt: skip
        replay.state = state
        replay.ended_ns = self._bridge.clock.now_ns()
        replay.notify()

    async def _copy(self, replay: Replay, query: TraceQuery, directory: Path, verify: bool) -> ReplayReport:
        """Copy the range. The checkpoint is deleted at the end, unless dead letters remain."""
        bridge = self._bridge
        with checkpoint(directory, bridge.clock) as state:
            return await bridge.areplay(
                list(replay.targets),
                from_=iso_ms(replay.window.start_ns),
                until=iso_ms(replay.window.end_ns),
                query=query,
                state=state,
                reread=verify,
                on_progress=replay.progress,
            )

    def _forget(self) -> None:
        ended = [replay for replay in self._replays.values() if replay.state != pb.REPLAY_STATE_RUNNING]
        for replay in ended[: max(0, len(ended) - MAX_KEPT)]:
            del self._replays[replay.id]
