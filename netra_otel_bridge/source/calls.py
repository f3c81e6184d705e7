"""One call to Netra, and the counts of all calls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec


class Call(msgspec.Struct, frozen=True):
    """One call.

    ``name`` identifies the call in messages and counters, ``target`` is the quoted path and query below the base URL.
    ``subject`` is the requested id, for messages. ``on_404`` is the body to assume for a 404, where the API reports
    "none" in that way. ``timeout_s`` limits one attempt, and replaces the transport's timeout. Not every key may make
    ``optional`` calls: their rejection is a `NetraNotAllowed`.
    """

    name: str
    target: str
    body: bytes | None = None
    subject: str = ""
    on_404: bytes | None = None
    timeout_s: float | None = None
    optional: bool = False


@dataclass(slots=True)
class TransportStats:
    """Counts of the calls made so far.

    ``calls`` counts attempts by call name, ``statuses`` the responses by HTTP status, with 0 for no response.
    """

    calls: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    retries: int = 0
    decoded_bytes: int = 0
