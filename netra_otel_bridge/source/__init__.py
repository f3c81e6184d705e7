"""READ: Netra's API, page by page, with typed answers and typed errors.

A call runs down this folder: ``client`` (or ``sync``) names it, ``pages`` follows cursors, ``transport`` sends it
within one ``budget``, ``body`` reads what comes back, ``answers`` says what a failure means, and ``schema`` turns
JSON into the values of `netra_otel_bridge.model`, with ``lenient`` for what is odd but can be read. The dashboard
calls are in ``dashboard``, their JSON in ``charts``; ``loop`` is the thread behind ``sync``.
"""

from netra_otel_bridge.source.client import AsyncNetraClient
from netra_otel_bridge.source.sync import NetraClient

__all__ = ["AsyncNetraClient", "NetraClient"]
