"""How the service is doing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneHealth:
    """How one destination of the service is doing now. Counts are since the service started, times 0 where there is none.

    ``problem`` is what holds the lane up ("" for nothing) since ``problem_since_ns``; a lane that is ``stopped`` needs
    somebody. ``watermark_ns`` says how far live traffic was followed, ``checkpoint_ns`` when progress was last stored.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageHealth:
    """How the usage lane is doing now. It works since ``started_ns``; ``polled_ns`` is when all that was due was last asked
    for, 0 for never yet."""

    started_ns: int
    problem: str
    problem_since_ns: int
    polled_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHealth:
    """How the service is doing now. ``api_calls`` counts Netra's answers by HTTP status; 0 stands for no answer.

    There are no ``lanes`` where no traces are followed, and no ``usage`` where it is not polled.
    """

    now_ns: int
    lanes: tuple[LaneHealth, ...]
    api_calls: dict[int, int]
    api_retries: int
    usage: UsageHealth | None = None

    @property
    def ready(self) -> bool:
        """Whether each lane has done all of its work at least once, and nothing holds one up."""
        usage_ready = self.usage is None or bool(self.usage.polled_ns and not self.usage.problem)
        return usage_ready and all(lane.passes and not lane.problem for lane in self.lanes)
