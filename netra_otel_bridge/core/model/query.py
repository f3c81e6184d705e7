"""Time ranges and conditions on traces."""

from __future__ import annotations

from dataclasses import dataclass

from netra_otel_bridge.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """A condition on traces, in the form of the trace query.

    ``operator`` and ``type`` are Netra's words (``equals``, ``any_of`` ...; ``string``, ``number``, ``boolean``,
    ``arrayOptions``, ``object``); ``key`` names the entry of ``metadata`` to look at.
    """

    field: str
    value: str | float | bool | list[str]
    operator: str = "equals"
    type: str = "string"
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """A time range ``[start_ns, end_ns)``, in nanoseconds since the epoch."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """Conditions on the traces of a range, joined with "and"; several trace ids are joined with "or".

    Raises `UsageError` for a value of another type.
    """

    tenant_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    trace_ids: tuple[str, ...] = ()
    filters: tuple[TraceFilter, ...] = ()

    def __post_init__(self) -> None:
        for name in ("tenant_id", "session_id", "user_id"):
            if not isinstance(getattr(self, name), str | None):
                raise UsageError(
                    f"{name} of a query is of type {type(getattr(self, name)).__name__}", hint="pass a string"
                )
        for name, kind in (("trace_ids", str), ("filters", TraceFilter)):
            given = getattr(self, name)
            if not isinstance(given, tuple | list) or not all(isinstance(one, kind) for one in given):
                what = "strings" if kind is str else "TraceFilter"
                raise UsageError(f"{name} of a query is not a tuple of {what}", hint=f"write {name}=(...,)")
            object.__setattr__(self, name, tuple(given))
