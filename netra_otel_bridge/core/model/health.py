"""The health of the service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ArrivalHealth:
    """The sample of live traffic that was read back from a store, in spans, since the start of the service.

    Of the ``verified`` spans, some are ``missing`` there, or ``changed``, which includes cut ones. ``failures`` counts the
    times that the store could not be asked.
    """

    verified: int
    missing: int
    changed: int
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneHealth:
    """The health of one destination. Counts begin with the start of the service; times are 0 if there is none.

    ``problem`` is the cause of a delay since ``problem_since_ns``, "" if there is none. A ``stopped`` lane needs manual
    intervention. ``watermark_ns`` is the time up to which live traffic was followed, ``checkpoint_ns`` the time when
    progress was last stored. ``held_back`` traces wait for another attempt now, whenever they were listed.
    ``arrival`` is ``None`` if nothing is read back.
    """

    destination: str
    stopped: bool
    problem: str
    problem_since_ns: int
    watermark_ns: int
    checkpoint_ns: int
    passes: int
    read: int
    delivered: int
    refused: int
    dead_lettered: int
    size_bytes: int
    retries: int
    held_back: int = 0
    arrival: ArrivalHealth | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageHealth:
    """The health of the usage lane, which started at ``started_ns``.

    ``polled_ns`` is when all usage that was due was last requested, 0 for never.
    """

    started_ns: int
    problem: str
    problem_since_ns: int
    polled_ns: int


@dataclass(frozen=True, slots=True)
class ClockHealth:
    """The difference between this machine's clock and Netra's.

    ``own_ns`` is this machine's time. ``offset_ns`` is Netra's time less this machine's, ``None`` before Netra's first
    answer. ``problem`` describes a disagreement since ``problem_since_ns``, "" if there is none.
    """

    own_ns: int
    offset_ns: int | None = None
    problem: str = ""
    problem_since_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHealth:
    """The health of the service. ``api_calls`` counts Netra's responses by HTTP status; 0 stands for no response.

    There are no ``lanes`` if no traces are followed, and there is no ``usage`` if it is not polled. ``now_ns`` is this
    machine's time, or Netra's if that is earlier by more than clocks may differ: no progress is recorded later. ``loop_delay_s`` is the longest recent delay of the event loop.
    """

    now_ns: int
    clock: ClockHealth
    lanes: tuple[LaneHealth, ...]
    api_calls: dict[int, int]
    api_retries: int
    usage: UsageHealth | None = None
    loop_delay_s: float = 0.0

    @property
    def ready(self) -> bool:
        """Return whether each lane has finished a pass, nothing delays any lane, and the clocks that it needs agree."""
        usage_ready = self.usage is None or bool(self.usage.polled_ns and not self.usage.problem)
        clock_ready = not self.clock.problem or not (self.lanes or self.usage)
        return usage_ready and clock_ready and all(lane.passes and not lane.problem for lane in self.lanes)
