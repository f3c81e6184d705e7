"""Clocks of a test's own: a Netra that tells any time, and a machine whose wall clock is wrong."""

from __future__ import annotations

from collections.abc import Callable

from netra_otel_bridge.core.clock import NS_PER_S, SystemClock
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.source.netra_clock import NetraClock
from tests.support.fake_clock import FakeClock


class FastClock(SystemClock):
    """A clock on which time passes ``speed`` times as fast, with a wall clock that is ``off_s`` seconds off."""

    def __init__(self, off_s: float = 0.0, speed: float = 1.0) -> None:
        self.off_s = off_s
        self._speed = speed
        self._start_ns, self._start_s = super().now_ns(), super().monotonic()

    def now_ns(self) -> int:
        return self._start_ns + int((self.off_s + self.monotonic() - self._start_s) * NS_PER_S)

    def monotonic(self) -> float:
        return self._start_s + (super().monotonic() - self._start_s) * self._speed

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / self._speed)


class TwoClocks:
    """A `NetraClock` between two clocks that a test moves: ``own`` is this machine's, `say` is what Netra answers."""

    def __init__(self, own: FakeClock | None = None) -> None:
        self.own = FakeClock() if own is None else own
        client = AsyncNetraClient(api_key="k", endpoint="http://127.0.0.1:9", clock=self.own)
        self._answer: Callable[[int, float], None] = lambda *_: None
        client.watch_dates = self._watch  # type: ignore[method-assign]
        self.netra_clock = NetraClock(client, self.own, LogLimit(self.own))
        self._start_ns = self.own.start_ns

    def _watch(self, on_date: Callable[[int, float], None]) -> None:
        self._answer = on_date

    def real_ns(self) -> int:
        """Return the time that has really passed, whatever the clocks show."""
        return self._start_ns + int(self.own.elapsed_s * NS_PER_S)

    def own_off(self, seconds: float) -> None:
        """Set this machine's wall clock to be ``seconds`` off."""
        self.own.start_ns = self._start_ns + int(seconds * NS_PER_S)

    def say(self, off_s: float = 0.0) -> None:
        """Let Netra answer with a time that is ``off_s`` seconds off, in whole seconds as HTTP has it."""
        told_ns = (self.real_ns() + int(off_s * NS_PER_S)) // NS_PER_S * NS_PER_S
        self._answer(told_ns, self.own.monotonic())

    def say_for(self, seconds: float, off_s: float, every_s: float = 10.0) -> None:
        """Let ``seconds`` pass, in which Netra answers every ``every_s`` with a time that is ``off_s`` off."""
        until_s = self.own.elapsed_s + seconds
        while self.own.elapsed_s < until_s:
            self.own.elapsed_s += every_s
            self.say(off_s)

    def shown_s(self) -> tuple[float, float, float]:
        """Return how many seconds ``now_ns``, ``safe_ns`` and ``latest_ns`` are off."""
        clock, real_ns = self.netra_clock, self.real_ns()
        return tuple(round((it - real_ns) / NS_PER_S) for it in (clock.now_ns(), clock.safe_ns(), clock.latest_ns()))  # type: ignore[return-value]
