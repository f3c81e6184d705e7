"""Say which store each destination is read back from."""

from __future__ import annotations

from collections.abc import Sequence

from netra_otel_bridge.core.errors import UsageError


def stores_of(destinations: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    """Return the stores that are ``given`` as ``AT`` or ``DEST=AT``, by their destinations. Raises `UsageError`."""
    found: dict[str, str] = {}
    for text in given:
        named = max((one for one in destinations if text.startswith(f"{one}=")), key=len, default=None)
        head, equals, _ = text.partition("=")
        if named is None and equals and ":" not in head:
            raise UsageError(
                f"{head} is not a destination of this command, so {text} is not read back",
                hint=f"write DEST=AT, with one of {', '.join(destinations) or 'the destinations'} as DEST",
            )
        if named is None and len(destinations) != 1:
            raise UsageError(
                f"the store {text} does not say which destination is read back there",
                hint=f"write DEST=AT, with one of {', '.join(destinations) or 'the destinations'} as DEST",
            )
        destination = destinations[0] if named is None else named
        if destination in found:
            raise UsageError(f"{destination} has two stores", hint="give each destination one store")
        found[destination] = text if named is None else text.removeprefix(f"{named}=")
    return found
