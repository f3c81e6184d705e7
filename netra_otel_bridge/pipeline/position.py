"""Tell how far a lane has followed live traffic, when neither Netra's clock nor this machine's can be trusted alone.

watermark   recorded; never later than either clock, so nothing is skipped if one of them was wrong
reached     how far this process listed by Netra's clock, while this machine's is behind it
floor       traces that start earlier may be forgotten, so listing them could send them again
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from netra_otel_bridge.core.clock import CLOCK_OFF_NS, HOUR_NS, NS_PER_MS
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.pipeline.windows import Lookback
from netra_otel_bridge.source.netra_clock import NetraClock

PRUNE_MARGIN_NS = HOUR_NS


class Position:
    """The position of a lane. `open` it once; then, for each pass, `check` it, list what is `due`, and `advance`.

    Traces are remembered for ``remember_ns``, or longer if ``lookback`` needs it. ``log`` receives warnings.
    """

    def __init__(
        self,
        recorder: Recorder,
        lookback: Lookback,
        netra_clock: NetraClock,
        remember_ns: int,
        log: Callable[[str], None],
    ) -> None:
        self._recorder = recorder
        self._lookback = lookback
        self._netra_clock = netra_clock
        self._remember_ns = max(remember_ns, lookback.longest_ns + PRUNE_MARGIN_NS)
        self._log = log
        self._since_ns = 0
        self._reached_ns = 0
        self._floor_ns = 0
        self._jumps = netra_clock.jumps
        self._is_checked = False

    async def open(self, since_ns: int | None) -> None:
        """Resume where the state says, or begin at ``since_ns``, ``None`` for now. Raises `StateError`.

        A new lane begins no later than both clocks have reached: what comes before its beginning is never listed.
        """
        state, now_ns = self._recorder.lane, _whole_ms(self._netra_clock.safe_ns())
        if state.since_ns() is None:
            start_ns = now_ns if since_ns is None else min(since_ns, now_ns)
            await self._recorder.write(partial(state.follow_from, start_ns))
        self._since_ns = state.since_ns() or 0
        self._recorder.resume(self._since_ns)
        self._set_floor(state.watermark_ns())

    async def check(self) -> None:
        """Move back a watermark or a beginning that lies in the future. Raises `StateError`.

        Call it once Netra has told its time.
        """
        latest_ns, safe_ns, since_ns = self._netra_clock.latest_ns(), self._netra_clock.safe_ns(), self._since_ns
        watermark_ns = self._recorder.lane.watermark_ns() if not self._is_checked else self._recorder.watermark_ns
        if since_ns > (safe_ns if watermark_ns is None else latest_ns) + CLOCK_OFF_NS:
            since_ns = _whole_ms(safe_ns)
        true_ns = None if watermark_ns is None else self._true_watermark_ns(watermark_ns, latest_ns, since_ns)
        if since_ns != self._since_ns or true_ns != watermark_ns:
            await self._recorder.move_back(true_ns, since_ns, latest_ns)
            self._log(
                f"a wrong clock told the state that live traffic was followed up to {iso_ms(watermark_ns or self._since_ns)}; "
                f"continuing from {iso_ms(true_ns or since_ns)}, so that nothing is skipped"
            )
            self._set_floor(true_ns)
            self._reached_ns = 0
        self._since_ns, self._is_checked = since_ns, True

    def due(self, poll: int, open_ns: int | None = None) -> list[Window]:
        """Return the windows to list in poll number ``poll``; none while they would be empty.

        From then on, the recorder records no watermark that either clock has not reached, or beyond ``open_ns``, where a
        window begins that cannot be listed. What was listed after it is not listed again in each poll.
        """
        clock, recorder, watermark_ns = self._netra_clock, self._recorder, self._recorder.watermark_ns
        if clock.jumps != self._jumps:
            self._jumps, self._reached_ns = clock.jumps, 0
        now_ns, safe_ns = clock.now_ns(), clock.safe_ns()
        recorder.limit_ns = _whole_ms(safe_ns - self._lookback.settle_ns)
        if open_ns is not None:
            watermark_ns = max(watermark_ns, min(self._reached_ns, recorder.limit_ns))
            recorder.limit_ns = min(recorder.limit_ns, open_ns)
        first_ns = max(self._since_ns, self._floor_ns)
        if now_ns - safe_ns < CLOCK_OFF_NS or self._lookback.is_far(poll) or self._reached_ns <= watermark_ns:
            windows = [self._lookback.window(poll, now_ns, watermark_ns, first_ns)]
        else:  # either clock may be right, so list what is new by each
            windows = [
                self._lookback.window(poll, safe_ns, watermark_ns, first_ns),
                self._lookback.window(poll, now_ns, self._reached_ns, first_ns),
            ]
        return _united([window for window in windows if window is not None])

    async def advance(self, listed: list[Window], *, prune: bool) -> None:
        """Note that these windows, which were `due`, are answered; with ``prune``, forget old traces. Raises `StateError`."""
        self._reached_ns = max(self._reached_ns, listed[-1].end_ns)
        if prune:
            before_ns = min(self._netra_clock.safe_ns(), self._recorder.watermark_ns) - self._remember_ns
            await self._recorder.write(partial(self._recorder.lane.prune, before_ns))
            self._floor_ns = max(self._floor_ns, before_ns)

    def _true_watermark_ns(self, watermark_ns: int, latest_ns: int, since_ns: int) -> int:
        """Return the watermark, or an earlier one that both clocks support."""
        state, set_ns = self._recorder.lane, self._recorder.lane.watermark_set_ns()
        safe_ns = self._netra_clock.safe_ns()
        true_ns = watermark_ns
        if watermark_ns > latest_ns + CLOCK_OFF_NS:
            if 0 < set_ns <= latest_ns + CLOCK_OFF_NS:
                true_ns = min(set_ns, safe_ns)
            else:  # both clocks were wrong: what was delivered is the only witness
                true_ns = state.last_start_ns(safe_ns) or since_ns
        elif not self._is_checked and watermark_ns > set_ns + CLOCK_OFF_NS:
            # An older version trusted Netra's clock, against this machine's. If this machine's was wrong, going back
            # further than this could reach traces that are forgotten.
            true_ns = max(set_ns, watermark_ns - self._remember_ns + self._lookback.longest_ns + PRUNE_MARGIN_NS)
        return max(min(true_ns, watermark_ns), since_ns)

    def _set_floor(self, watermark_ns: int | None) -> None:
        """Set the floor to the latest prune. An older version did not record it, but never pruned later than this."""
        pruned_ns = self._recorder.lane.pruned_ns()
        if pruned_ns is None and watermark_ns is not None:
            pruned_ns = watermark_ns - self._remember_ns + self._lookback.settle_ns
        self._floor_ns = pruned_ns or 0


def _united(windows: list[Window]) -> list[Window]:
    """Return two windows in order as one if they touch."""
    if len(windows) == 2 and windows[1].start_ns <= windows[0].end_ns:
        return [Window(min(one.start_ns for one in windows), max(one.end_ns for one in windows))]
    return windows


def _whole_ms(ns: int) -> int:
    return ns // NS_PER_MS * NS_PER_MS
