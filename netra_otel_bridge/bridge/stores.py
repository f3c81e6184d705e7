"""Say which store each destination is read back from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.readback.names import default_at


def stores_of(ats: Sequence[str], destinations: Sequence[str], named: Mapping[str, str]) -> dict[str, str | None]:
    """Return the store of each destination: its ``DEST=AT``, else the one ``AT`` without a name, else its own.

    A file is its own store; ``None`` if a destination has none. ``named`` are the destinations of the configuration by
    their names. Raises `UsageError` for an ``AT`` that belongs to no destination, or that could belong to several.
    """
    given: dict[str, str] = {}
    alone: list[str] = []
    for at in ats:
        owner = next((one for one in sorted(destinations, key=len, reverse=True) if at.startswith(f"{one}=")), None)
        if owner is None:
            alone.append(at)
        elif owner in given:
            raise UsageError(f"{owner} has two stores", hint="give one --verify-at for each destination")
        else:
            given[owner] = at.removeprefix(f"{owner}=")
    left = [one for one in destinations if one not in given]
    if len(alone) > len(left) or (alone and len(left) > 1):
        raise UsageError(
            "it is not clear which destination a store belongs to",
            hint="write DEST=AT, such as otlp+grpc://HOST:4317=jaeger+grpc://HOST:16685",
        )
    return {one: given.get(one) or (alone[0] if alone else default_at(named.get(one, one))) for one in destinations}
