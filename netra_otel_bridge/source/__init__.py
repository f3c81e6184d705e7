"""Read Netra's API, page by page, with typed responses and typed errors.

A call goes through these modules in order:

1. ``client`` (or ``sync``, its blocking counterpart) has its method, or ``dashboard`` for a dashboard call.
2. ``arguments`` checks its arguments. ``pages`` follows cursors.
3. ``transport`` sends it as a `Call` of ``calls``, within one ``budget``, and retries.
4. ``exchange`` makes one attempt over HTTP, at the address that ``endpoint`` has parsed. ``body`` reads the response,
   and ``failures`` classifies failures.
5. ``schema`` turns JSON into the values of `netra_otel_bridge.core.model`, with ``lenient`` for odd values that can
   still be read; ``charts`` does so for the dashboard calls.

``netra_clock`` learns Netra's time from the dates of its responses.
"""

from netra_otel_bridge.source.client import AsyncNetraClient
from netra_otel_bridge.source.sync import NetraClient

__all__ = ["AsyncNetraClient", "NetraClient"]
