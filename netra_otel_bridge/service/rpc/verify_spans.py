"""VerifySpans: read back what the service delivered, and stream what is wrong with it."""

from __future__ import annotations

import asyncio
from functools import partial

from netra_otel_bridge.bridge.bridge import Bridge
from netra_otel_bridge.bridge.stores import stores_of
from netra_otel_bridge.bridge.verify import Verification, verify_stores
from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.errors import BridgeError, UsageError
from netra_otel_bridge.core.model.query import TraceQuery
from netra_otel_bridge.core.model.readback import VerifyReport
from netra_otel_bridge.core.tasks import run_until
from netra_otel_bridge.readback.names import default_at
from netra_otel_bridge.readback.verify import VerifyProgress
from netra_otel_bridge.service.rpc import messages
from netra_otel_bridge.service.rpc.errors import (
    Code,
    StatusError,
    invalid,
    misconfigured,
    stalled,
    store_error,
)
from netra_otel_bridge.service.rpc.limits import Context, write
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.state import StateStore
from netra_otel_bridge.v1 import bridge_pb2 as pb

MAX_RUNNING = 2
"""Verifications at once, because each asks a store for as many traces at once as it can serve."""
PROGRESS_S = 1.0
"""The shortest time between two messages on progress."""


class SpanVerifier:
    """Handles VerifySpans.

    ``state`` has what the service delivered, which are the traces of ``followed``. ``client`` asks Netra.
    """

    def __init__(
        self, bridge: Bridge, client: AsyncNetraClient, state: StateStore, followed: tuple[TraceQuery, ...]
    ) -> None:
        self._bridge = bridge
        self._client = client
        self._state = state
        self._followed = followed
        self._stall_s = bridge.settings.grpc_stall_ns / NS_PER_S
        self._running = 0

    async def verify(self, request: pb.VerifySpansRequest, context: Context) -> None:
        """Write progress, findings and a summary. Raises `StatusError`."""
        what = self._what(request)
        destination = self._destination(request.destination)
        at = self._store(destination)
        failure = None
        try:
            report = await self._verified(destination, at, what, context)
        except BridgeError as error:
            if not isinstance(error.report, VerifyReport):
                raise _before_the_first_trace(error) from None
            report, failure = error.report, store_error(error)
        (store,) = report.destinations
        for finding in store.findings:
            await self._write(context, pb.VerifySpansResponse(finding=messages.finding(finding)))
        await self._write(context, pb.VerifySpansResponse(summary=messages.summary(report, store)))
        if failure is not None:
            raise failure

    def _what(self, request: pb.VerifySpansRequest) -> Verification:
        return Verification(
            window=messages.time_range(request.range, self._bridge.clock.now_ns()),
            queries=(messages.trace_query(request.query),),
            followed=self._followed,
            is_open=not request.range.HasField("end_time"),
            at_random=request.at_random or None,
            search=not request.skip_search,
        )

    def _destination(self, name: str) -> str:
        """Return the destination of that name; without one, the only one. Raises `StatusError`, `ConfigurationError`."""
        known = self._bridge.destinations()
        hint = f"it delivers to {', '.join(known)}"
        if not name and len(known) > 1:
            raise invalid("destination is missing, and the bridge delivers to several", hint=hint)
        if name and name not in known:
            message = f"the bridge does not deliver to {name[:200]!r}"
            raise invalid(message, hint=hint, reason="DESTINATION_UNKNOWN")
        return name or known[0]

    def _store(self, destination: str) -> str:
        """Return where a destination is read back: only an operator decides that. Raises `StatusError`."""
        settings = self._bridge.settings
        try:
            stores = stores_of(self._bridge.destinations(), settings.verify_at)
        except UsageError as error:
            raise misconfigured(f"verify_at: {error.message}", hint=error.hint) from None
        at = stores.get(destination) or default_at(settings.destinations.get(destination, destination))
        if at is None:
            raise misconfigured(
                f"where {destination} can be read back is not configured",
                hint="set NETRA_BRIDGE_VERIFY_AT of the bridge, such as jaeger+grpc://HOST:16685",
            )
        return at

    async def _verified(self, destination: str, at: str, what: Verification, context: Context) -> VerifyReport:
        """Verify, and write the progress meanwhile. Raises `StatusError`, and as `verify_stores`."""
        if self._running >= MAX_RUNNING:
            message = f"{MAX_RUNNING} verifications are running, which is the limit"
            raise StatusError(Code.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS", message, retry_s=30.0)
        news = _News()
        verifying = verify_stores(
            self._bridge, [(destination, at)], what, self._state, client=self._client, on_progress=news.add
        )
        work = asyncio.create_task(verifying)
        self._running += 1

        def ended(_: asyncio.Task[VerifyReport]) -> None:
            self._running -= 1
            news.changed.set()

        work.add_done_callback(ended)
        try:
            while True:
                await news.changed.wait()
                if work.done():
                    return work.result()
                await self._write(context, pb.VerifySpansResponse(progress=messages.verify_progress(news.take())))
                await run_until(self._bridge.clock.sleep(PROGRESS_S), asyncio.wait({work}))
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _write(self, context: Context, response: pb.VerifySpansResponse) -> None:
        await write(context, response, self._stall_s, partial(stalled, "the client read no message", self._stall_s))


class _News:
    """The progress that was not written yet. ``changed`` is set while there is some."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._latest = VerifyProgress("", 0, 0, 0, 0, 0)

    def add(self, progress: VerifyProgress) -> None:
        """Keep the latest progress."""
        self._latest = progress
        self.changed.set()

    def take(self) -> VerifyProgress:
        """Return it, and wait for newer."""
        self.changed.clear()
        return self._latest


def _before_the_first_trace(error: BridgeError) -> StatusError:
    """Return the status for an error without a report. A `UsageError` is then one of the settings or the state."""
    if isinstance(error, UsageError):
        return misconfigured(error.message, hint=error.hint)
    return store_error(error)
