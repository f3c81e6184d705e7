"""Read Netra's API, page by page, with typed responses and typed errors.

A call goes through this folder in order. ``client`` (or ``sync``, its blocking counterpart) has its method, and
``arguments`` checks its arguments. ``pages`` follows cursors. ``transport`` sends it within one ``budget`` and retries,
``exchange`` makes one attempt over HTTP, ``body`` reads the response, and ``failures`` classifies failures. ``schema``
turns JSON into the values of `netra_otel_bridge.core.model`, with ``lenient`` for odd values that can still be read.
The dashboard calls are in ``dashboard``, and their JSON in ``charts``.
"""

from netra_otel_bridge.source.client import AsyncNetraClient
from netra_otel_bridge.source.sync import NetraClient

__all__ = ["AsyncNetraClient", "NetraClient"]
