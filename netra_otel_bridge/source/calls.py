"""One call to Netra, and the counts of all calls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec


class Call(msgspec.Struct, frozen=True):
    """One call.

    ``name`` is for people and counters, ``target`` the quoted path and query below the base URL. ``subject`` is the id
    asked about, for people. ``on_404`` is the body that a 404 stands for, where the API reports "none" in that way.
    ``timeout_s`` bounds one attempt in place of the transport's. Not every key may make ``optional`` calls: their
    rejection is a `NetraNotAllowed`.
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

    ``calls`` counts attempts by call name, ``statuses`` their answers by HTTP status, with 0 for no answer.
    """

    calls: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    retries: int = 0
    decoded_bytes: int = 0
