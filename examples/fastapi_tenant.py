"""A FastAPI service that shows a tenant's traces, the spans of one trace, and the tenant's usage.

Run it with NETRA_API_KEY and NETRA_OTLP_ENDPOINT set:

    pip install netra-otel-bridge fastapi uvicorn
    uvicorn --app-dir examples fastapi_tenant:app
    curl 'http://127.0.0.1:8000/tenants/Globex/traces?hours=24'

It uses one Netra key for all tenants. Put it behind something that authenticates the tenant.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, cast

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse

from netra_otel_bridge import AsyncNetraClient, Bridge, BridgeError, NetraNotFound


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Share one client for the life of the service: it reuses connections, and its limits cover all requests."""
    async with Bridge().async_client() as client:
        app.state.netra = client
        yield


app = FastAPI(title="Traces by tenant", lifespan=lifespan)


def netra_of(request: Request) -> AsyncNetraClient:
    return cast(AsyncNetraClient, request.app.state.netra)


Netra = Annotated[AsyncNetraClient, Depends(netra_of)]
Hours = Annotated[int, Query(ge=1, le=24 * 30)]


@app.get("/tenants/{tenant_id}/traces")
async def list_traces(tenant_id: str, netra: Netra, hours: Hours = 24, cursor: str | None = None) -> dict[str, Any]:
    """List the newest traces first. ``next`` is the cursor of the next page."""
    now = datetime.now(UTC)
    page = await netra.list_traces(
        now - timedelta(hours=hours), now, tenant_id=tenant_id, limit=50, cursor=cursor, sort_order="desc"
    )
    traces = [
        {
            "id": trace.id,
            "name": trace.name,
            "started": trace.start_time,
            "ms": trace.latency_ms,
            "tokens": trace.total_tokens,
            "cost": trace.total_cost,
            "error": trace.has_error,
        }
        for trace in page.traces
    ]
    return {"traces": traces, "next": page.next_cursor if page.has_next_page else None}


@app.get("/tenants/{tenant_id}/traces/{trace_id}")
async def show_trace(tenant_id: str, trace_id: str, netra: Netra) -> list[dict[str, Any]]:
    """List the tenant's spans of a trace. Answer 404 if it has none, as if the trace did not exist."""
    spans = [span async for span in netra.iter_spans_by_trace_id(trace_id, limit=100) if span.tenant_id == tenant_id]
    if not spans:
        raise HTTPException(404, f"the tenant has no trace {trace_id}")
    return [
        {"id": span.id, "parent": span.parent_span_id, "name": span.name, "kind": span.kind, "ms": span.latency_ms}
        for span in spans
    ]


@app.get("/tenants/{tenant_id}/usage")
async def show_usage(tenant_id: str, netra: Netra, hours: Hours = 24) -> dict[str, Any]:
    """Return tokens, sessions, and cost in US dollars."""
    now = datetime.now(UTC)
    usage = await netra.get_tenant_usage(tenant_id, now - timedelta(hours=hours), now)
    if usage is None:
        raise HTTPException(404, f"Netra knows no tenant {tenant_id}")
    return {"tokens": usage.token_count, "sessions": usage.session_count, "cost": usage.total_cost}


@app.exception_handler(BridgeError)
async def on_error(_: Request, error: BridgeError) -> JSONResponse:
    """Answer with one line without secrets, and with 503 if the same request may succeed later."""
    if isinstance(error, NetraNotFound) and error.status == 404:
        return JSONResponse({"detail": "Netra knows nothing under this id"}, 404)
    return JSONResponse({"detail": str(error)}, 503 if error.retryable else 502)
