"""One call to Netra, and the counts of all calls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

import msgspec


class BodyRoom(Protocol):
    """The memory that the body of a large answer may take while it is read and decoded."""

    @property
    def limit_bytes(self) -> int:
        """Return how many decoded bytes the body may have now."""

    def grow(self) -> bool:
        """Raise the limit if there is memory, and return whether there was."""

    async def wait(self) -> None:
        """Wait until there is memory, and raise the limit."""


class NoRoom(Exception):
    """There is no memory for the rest of a body now. The call is made again once there is."""


class Call(msgspec.Struct, frozen=True):
    """One call.

    ``name`` identifies the call in messages and counters, ``target`` is the quoted path and query below the base URL.
    ``subject`` is the requested id, for messages. ``on_404`` is the body to assume for a 404, where the API reports
    "none" in that way. ``timeout_s`` limits one attempt, and replaces the transport's timeout. Not every key may make
    ``optional`` calls: their rejection is a `NetraNotAllowed`. ``room`` bounds a large body.
    """

    name: str
    target: str
    body: bytes | None = None
    subject: str = ""
    on_404: bytes | None = None
    timeout_s: float | None = None
    optional: bool = False
    room: BodyRoom | None = None


@dataclass(slots=True)
class TransportStats:
    """Counts of the calls made so far.

    ``calls`` counts attempts by call name, ``statuses`` the responses by HTTP status, with 0 for no response.
    """

    calls: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    retries: int = 0
    decoded_bytes: int = 0
