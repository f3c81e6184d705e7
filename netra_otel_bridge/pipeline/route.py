"""The route from Netra to one destination: the parts and limits that all passes of a lane share."""

from __future__ import annotations

from dataclasses import dataclass

from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.core.model.query import TraceQuery
from netra_otel_bridge.deliver import Sender
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.pipeline.watch import LaneWatch
from netra_otel_bridge.source import AsyncNetraClient


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """Limits of a lane.

    ``state_lasts`` tells whether the state outlives the process. If it does not, rejected spans are only counted as
    refused, not kept as dead letters, and costs are not summed up.
    """

    fetchers: int = 64
    batch_spans: int = 512
    batch_bytes: int = 3_500_000
    held_bytes: int = 64 * 2**20
    state_lasts: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """The parts that read, convert, send, record and report for one destination."""

    client: AsyncNetraClient
    converter: SpanConverter
    sender: Sender
    queries: tuple[TraceQuery, ...]
    recorder: Recorder
    options: LaneOptions
    watch: LaneWatch
