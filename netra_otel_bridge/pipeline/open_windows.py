"""Keep windows open that Netra fails to list although it lists others, and list them again with growing pauses.

Each attempt lists the halves of such a window, down to a minute, so that little stays open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from netra_otel_bridge.core.clock import MINUTE_NS, NS_PER_MS, Backoff, Clock
from netra_otel_bridge.core.errors import NetraError
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.source import AsyncNetraClient

SMALLEST_NS = MINUTE_NS
"""A window of this length, or less, is not halved."""
HALVED = 12
"""Windows that are halved in one replay, and open ones beyond which none is halved, because much more than a page fails."""
RETRIES = 2
"""Open windows that one pass lists again."""
PAUSE = Backoff(first_s=15.0, max_s=600.0, uniform=lambda _, most_s: most_s)
"""Time until a window is listed again: doubled after each attempt, up to ten minutes."""


async def lists_elsewhere(client: AsyncNetraClient, window: Window, latest_ns: int) -> bool:
    """Return whether Netra lists a minute outside of ``window``: the one up to ``latest_ns``, or the one before it."""
    for end_ns in (latest_ns, window.start_ns):
        start_ns = max(0, end_ns - MINUTE_NS)
        if start_ns < window.end_ns and window.start_ns < end_ns:
            continue
        try:
            page = await client.list_traces(iso_ms(start_ns), iso_ms(end_ns), limit=1)
        except NetraError:
            continue
        if page.traces or page.unreadable or not page.has_next_page:
            return True
    return False


def about(window: Window, error: NetraError) -> NetraError:
    """Return an error that names the window whose listing failed."""
    message = f"listing traces from {iso_ms(window.start_ns)} to {iso_ms(window.end_ns)}: {error.message}"
    return type(error)(message, hint=error.hint, status=error.status)


def halves(window: Window) -> list[Window]:
    """Return the halves of a window, or the window itself if it is no longer than `SMALLEST_NS`."""
    if window.end_ns - window.start_ns <= SMALLEST_NS:
        return [window]
    middle_ns = (window.start_ns + window.end_ns) // 2 // NS_PER_MS * NS_PER_MS
    return [Window(window.start_ns, middle_ns), Window(middle_ns, window.end_ns)]


@dataclass(frozen=True, slots=True)
class _Open:
    """A window that cannot be listed, the error, and when to list it again."""

    window: Window
    error: NetraError
    attempts: int
    next_s: float


class OpenWindows:
    """The windows that could not be listed so far. In memory only: what records progress must not pass ``start_ns``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: list[_Open] = []

    @property
    def start_ns(self) -> int | None:
        """Return the start of the earliest of them, ``None`` if there is none."""
        return min((one.window.start_ns for one in self._open), default=None)

    @property
    def problem(self) -> str:
        """Return which window is open, and why; "" if there is none."""
        if not self._open:
            return ""
        first = min(self._open, key=lambda one: one.window.start_ns)
        more = f" (and {len(self._open) - 1} more ranges)" if len(self._open) > 1 else ""
        return f"{about(first.window, first.error)}{more}; later traces go on"

    def due(self, windows: Iterable[Window]) -> list[Window]:
        """Return ``windows`` without those that are open, and with the halves of those to list again now; in order.

        These are `RETRIES` at most, and whole if many are open.
        """
        now_s = self._clock.monotonic()
        parts = [part for window in windows for part in self.without_open(window)]
        due = sorted((one for one in self._open if one.next_s <= now_s), key=lambda one: one.next_s)[:RETRIES]
        are_few = len(self._open) < HALVED
        parts += [part for one in due for part in (halves(one.window) if are_few else [one.window])]
        return sorted(parts, key=lambda one: one.start_ns)

    def without_open(self, window: Window) -> list[Window]:
        """Return the parts of a window that are not open."""
        parts = [window]
        for one in self._open:
            parts = [rest for part in parts for rest in _rest(part, one.window)]
        return parts

    def update(self, listed: Iterable[Window], failed: Iterable[tuple[Window, NetraError]]) -> None:
        """Note that all traces of ``listed`` are answered, except in those parts of it that ``failed``."""
        now_s, still_open = self._clock.monotonic(), []
        for window, error in failed:
            before = [one.attempts for one in self._open if _overlaps(one.window, window)]
            attempts = max(before, default=0) + 1
            still_open.append(_Open(window, error, attempts, now_s + PAUSE.delay_s(attempts - 1)))
        for window in (*listed, *(one.window for one in still_open)):
            self._open = [
                _Open(rest, one.error, one.attempts, one.next_s)
                for one in self._open
                for rest in _rest(one.window, window)
            ]
        self._open += still_open


def _overlaps(one: Window, other: Window) -> bool:
    return one.start_ns < other.end_ns and other.start_ns < one.end_ns


def _rest(window: Window, removed: Window) -> Iterator[Window]:
    """Yield what is left of a window without another one."""
    if not _overlaps(window, removed):
        yield window
        return
    if window.start_ns < removed.start_ns:
        yield Window(window.start_ns, removed.start_ns)
    if removed.end_ns < window.end_ns:
        yield Window(removed.end_ns, window.end_ns)
