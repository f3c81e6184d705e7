"""Make a named destination from an object that a program passes in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import BuiltinMethodType, MethodType
from typing import cast

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from netra_otel_bridge.core.errors import (
    BridgeError,
    DestinationMisconfigured,
    DestinationUnauthorized,
    DestinationUnavailable,
    UsageError,
)
from netra_otel_bridge.core.model.outcome import Inspection, Outcome, PartlyRefused, Retry, SpanBatch
from netra_otel_bridge.core.outside_text import error_line, safe_line
from netra_otel_bridge.deliver.adapters.callback import CallbackDestination, SpanCallback, raised_outcome, run_in_task
from netra_otel_bridge.deliver.adapters.exporter import ExporterDestination
from netra_otel_bridge.deliver.adapters.processor import ProcessorDestination
from netra_otel_bridge.deliver.answers import Verdict, outcome, shown
from netra_otel_bridge.deliver.names import identity
from netra_otel_bridge.deliver.protocols import AnswersEmpty, Destination, Inspects

SpanObject = SpanExporter | SpanProcessor | SpanCallback | Destination
"""An object of a program that accepts spans."""


@dataclass(frozen=True, slots=True)
class Named:
    """An object that accepts spans, ``to``, and its ``name`` in the state, in reports and in messages.

    The state records deliveries under ``name``: in every call with the same state, one name must mean one destination.
    """

    name: str
    to: SpanObject


To = str | SpanObject | Named
"""A target of spans: a ``DEST`` of the command line, an exporter, a processor, a function, or a `Destination`; each of the
latter four may be `Named`."""


class GuardedDestination:
    """Isolates a program's own `Destination`.

    Whatever its ``send`` does becomes an `Outcome` of its own lane. `raised_outcome` classifies an exception; a
    `BridgeError` that is not about a destination is raised unchanged. A return value that is not an `Outcome` is
    `Misconfigured`. The object is never closed. It offers `AnswersEmpty` and `Inspects` if the object does.
    """

    def __init__(self, name: str, given: Destination) -> None:
        self.name = name
        self._given = given
        if isinstance(given, AnswersEmpty):
            self.send_empty: Callable[[int], Awaitable[Outcome]] = partial(self._send_empty, given)
        if isinstance(given, Inspects):
            self.inspect: Callable[[], Awaitable[Inspection]] = partial(self._inspect, given)

    async def send(self, batch: SpanBatch) -> Outcome:
        """Pass one batch on and return the outcome. Raises the `BridgeError` that ``send`` raised, if any."""
        return await self._guarded("send", lambda: self._given.send(batch), len(batch.spans))

    async def _send_empty(self, given: AnswersEmpty, size_bytes: int) -> Outcome:
        return await self._guarded("send_empty", lambda: given.send_empty(size_bytes), 0)

    async def _inspect(self, given: Inspects) -> Inspection:
        try:
            found = await run_in_task(given.inspect)
        except (Exception, SystemExit) as error:
            if isinstance(error, BridgeError):
                raise
            raise DestinationMisconfigured(f"its inspect raised {error_line(error)}") from error
        if not isinstance(found, Inspection):
            raise DestinationMisconfigured(f"its inspect returned {type(found).__name__}; return an Inspection")
        return replace(found, found=safe_line(found.found), unknown=safe_line(found.unknown))

    async def _guarded(self, method: str, work: Callable[[], object], spans: int) -> Outcome:
        try:
            answer = await run_in_task(work)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return Retry(f"its {method} was cancelled")
        except (Exception, SystemExit) as error:
            if isinstance(error, BridgeError) and not isinstance(error, _ANSWERS):
                raise
            return shown(raised_outcome(error, f"its {method}"))
        if isinstance(answer, PartlyRefused) and not _counts(answer.refused, spans):
            return outcome(
                Verdict.MISCONFIGURED, f"its {method} returned PartlyRefused of {answer.refused!r:.40} spans"
            )
        if isinstance(answer, Outcome):
            return shown(answer)
        return outcome(Verdict.MISCONFIGURED, f"its {method} returned {type(answer).__name__}; return an Outcome")

    async def aclose(self) -> None:
        """Do nothing: the owner closes the object."""


def _counts(value: object, most: int) -> bool:
    return isinstance(value, int) and 0 <= value <= most


_ANSWERS = (DestinationUnavailable, DestinationUnauthorized, DestinationMisconfigured)


def destination_from(given: SpanObject | Named) -> Destination:
    """Return an adapter for an object, which its owner still has to shut down or close.

    Its name is that of `Named`, else that of the class, the function, or the `Destination`. Raises `UsageError` for an
    object that accepts no spans.
    """
    name, one = (given.name, given.to) if isinstance(given, Named) else (None, given)
    if name is not None and not (isinstance(name, str) and name.strip() and name.isprintable()):
        raise UsageError(f"{name!r:.80} is not a name for a destination", hint="give Named one printable line")
    if isinstance(one, str | Named):
        raise UsageError(f"{name!r:.80} names an object that already has a name", hint="pass a DEST without Named")
    if isinstance(one, type):
        raise UsageError(f"{one.__name__} is a class", hint=f"pass one of its instances: {one.__name__}(...)")
    kind = type(one).__name__
    if hasattr(one, "export"):
        return ExporterDestination(name or kind, cast(SpanExporter, one), shut_down=False)
    if hasattr(one, "on_end"):
        return ProcessorDestination(name or kind, cast(SpanProcessor, one))
    if hasattr(one, "send"):
        return _guarded(name, cast(Destination, one))
    if callable(one):
        return CallbackDestination(name or _name_of(one), one)
    raise UsageError(
        f"an object of type {kind} accepts no spans",
        hint="pass a DEST, a SpanExporter, a SpanProcessor, a function that accepts spans, or a Destination",
    )


def check_passed_once(targets: Sequence[To]) -> None:
    """Raise `UsageError` if two targets are the same destination: one text, one object, or one method of an object."""
    for number, one in enumerate(targets):
        if not any(_is_same(one, other) for other in targets[:number]):
            continue
        if isinstance(one, str):
            raise UsageError(f"the destination {one} is named twice")
        raise UsageError(f"the same {type(_unnamed(one)).__name__} is passed twice", hint="pass each object once")


def check_names(targets: Sequence[To], destinations: Sequence[Destination], environ: Mapping[str, str]) -> None:
    """Raise `UsageError` unless the name of each of ``targets`` identifies it in a state.

    ``destinations`` were opened for ``targets``, in the same order.
    """
    names = [identity(one.name, environ) for one in destinations]
    for target, destination, name in zip(targets, destinations, names, strict=True):
        if isinstance(target, str):
            continue
        if _is_ambiguous(target):
            raise UsageError(
                f"a state identifies destinations by name, and other objects may be called {destination.name}, too",
                hint=f"pass Named('...', {destination.name}), with the same name each time",
            )
        if names.count(name) > 1:
            raise UsageError(
                f"a state identifies destinations by name, and {names.count(name)} are called {destination.name}",
                hint="pass each as Named('...', ...), with a name of its own",
            )


def _unnamed(one: To) -> object:
    return one.to if isinstance(one, Named) else one


def _is_same(one: To, other: To) -> bool:
    first, second = _unnamed(one), _unnamed(other)
    if isinstance(first, str | MethodType | BuiltinMethodType):
        return type(first) is type(second) and first == second
    return first is second


def _is_ambiguous(given: SpanObject | Named) -> bool:
    """Return whether other objects easily get the same name, so that their progress would be mixed up.

    That is true of a ``lambda``, a function defined inside another, a built-in method such as ``list.extend``, and an
    instance of a class of OpenTelemetry.
    """
    if isinstance(given, Named):
        return False
    if not (hasattr(given, "export") or hasattr(given, "on_end")):
        if hasattr(given, "send"):
            return False
        given = _innermost(given)
        if isinstance(given, BuiltinMethodType) or "<" in getattr(given, "__qualname__", ""):
            return True
    return (getattr(given, "__module__", None) or "").partition(".")[0] == "opentelemetry"


def _guarded(name: str | None, given: Destination) -> GuardedDestination:
    kind = type(given).__name__
    for method in ("send", "aclose"):
        if not callable(getattr(given, method, None)):
            raise UsageError(f"the destination {kind} has no method {method}", hint="see Destination in the docs")
    try:
        name = name or getattr(given, "name", None)
    except Exception as error:
        raise UsageError(f"the name of the destination {kind} cannot be read: {error_line(error)}") from error
    if not isinstance(name, str) or not name:
        raise UsageError(
            f"the destination {kind} has no name", hint="give it a str attribute called name, or use Named(...)"
        )
    return GuardedDestination(name, given)


def _name_of(callback: SpanCallback) -> str:
    """Return the name of a function, with its class if it is a method; else the class of the callable."""
    callback = _innermost(callback)
    name: str = getattr(callback, "__qualname__", type(callback).__name__)
    return name.rpartition("<locals>.")[2]


def _innermost(callback: Callable[..., object]) -> Callable[..., object]:
    while isinstance(callback, partial):
        callback = callback.func
    return callback
