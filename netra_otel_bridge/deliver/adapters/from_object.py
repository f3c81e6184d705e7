"""What a caller hands in as a destination, the adapter for each kind, and what each is called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from netra_otel_bridge.core.model.outcome import Outcome, PartlyRefused, Retry, SpanBatch
from netra_otel_bridge.deliver.adapters.callback import CallbackDestination, SpanCallback, in_task, raised_outcome
from netra_otel_bridge.deliver.adapters.exporter import ExporterDestination
from netra_otel_bridge.deliver.adapters.processor import ProcessorDestination
from netra_otel_bridge.deliver.answers import Verdict, outcome, raised, shown
from netra_otel_bridge.deliver.destination import Destination, identity

Own = SpanExporter | SpanProcessor | SpanCallback | Destination
"""An object of the caller's that takes spans."""


@dataclass(frozen=True, slots=True)
class Named:
    """An object that takes spans, ``to``, and what it is called in the state, in reports and in messages.

    What was delivered is remembered under ``name``: one name is one destination, in every call with the same state.
    """

    name: str
    to: Own


To = str | Own | Named
"""Where spans go: a ``DEST`` of the command line, an exporter, a processor or a function of one's own, a `Destination`,
and each of the latter four with a name, `Named`."""


class OwnDestination:
    """A `Destination` of the caller's behind a wall: whatever its ``send`` does is an `Outcome` of its own lane.

    An exception is what `raised_outcome` makes of it; a `BridgeError` about something else than a destination is raised
    as it is. To answer with anything but an `Outcome` is `Misconfigured`. The object is never closed.
    """

    def __init__(self, name: str, given: Destination) -> None:
        self.name = name
        self._given = given

    async def send(self, batch: SpanBatch) -> Outcome:
        """Hand one batch over and say what became of it. Raises the `BridgeError` that ``send`` raised, if any."""
        try:
            answer = await in_task(lambda: self._given.send(batch))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return Retry("its send was cancelled")
        except (Exception, SystemExit) as error:
            if isinstance(error, BridgeError) and not isinstance(error, _ANSWERS):
                raise
            return raised_outcome(error, "its send")
        if isinstance(answer, PartlyRefused) and not _counts(answer.refused, len(batch.spans)):
            return outcome(Verdict.MISCONFIGURED, f"its send returned PartlyRefused of {answer.refused!r:.40} spans")
        if isinstance(answer, Outcome):
            return shown(answer)
        return outcome(Verdict.MISCONFIGURED, f"its send returned {type(answer).__name__}; return an Outcome")

    async def aclose(self) -> None:
        """Nothing: the object is its owner's to close."""


def _counts(value: object, most: int) -> bool:
    return isinstance(value, int) and 0 <= value <= most


_ANSWERS = (DestinationUnavailable, DestinationUnauthorized, DestinationMisconfigured)


def own_destination(given: Own | Named) -> Destination:
    """An adapter for what a caller handed in, which stays the caller's to shut down or to close.

    It is called as `Named` says, else after the class, the function, or the ``name`` of a `Destination`. Raises
    `UsageError` for what is nothing of the kind.
    """
    name, one = (given.name, given.to) if isinstance(given, Named) else (None, given)
    if name is not None and not (isinstance(name, str) and name.strip() and name.isprintable()):
        raise UsageError(f"{name!r:.80} names no destination", hint="give Named a text of one line")
    if isinstance(one, str | Named):
        raise UsageError(f"what is called {name!r:.80} has a name already", hint="hand in a DEST without Named")
    if isinstance(one, type):
        raise UsageError(f"{one.__name__} is a class", hint=f"hand in one of its instances: {one.__name__}(...)")
    kind = type(one).__name__
    if hasattr(one, "export"):
        return ExporterDestination(name or kind, cast(SpanExporter, one), shut_down=False)
    if hasattr(one, "on_end"):
        return ProcessorDestination(name or kind, cast(SpanProcessor, one))
    if hasattr(one, "send"):
        return _walled(name, cast(Destination, one))
    if callable(one):
        return CallbackDestination(name or _name_of(one), one)
    raise UsageError(
        f"an object of type {kind} takes no spans",
        hint="hand in a DEST, a SpanExporter, a SpanProcessor, a function that takes spans, or a Destination",
    )


def check_handed_in_once(targets: Sequence[To]) -> None:
    """Raise `UsageError` if two of them are one destination: one text, one object, or the same method of one."""
    for number, one in enumerate(targets):
        if not any(_is_same(one, other) for other in targets[:number]):
            continue
        if isinstance(one, str):
            raise UsageError(f"the destination {one} is named twice")
        raise UsageError(f"the same {type(_unnamed(one)).__name__} is handed in twice", hint="hand each object in once")


def check_names(targets: Sequence[To], destinations: Sequence[Destination], environ: Mapping[str, str]) -> None:
    """Raise `UsageError` unless what a state remembers of ``targets`` by name is found again by that name.

    ``destinations`` are what was opened for ``targets``, in the same order.
    """
    names = [identity(one.name, environ) for one in destinations]
    for target, destination, name in zip(targets, destinations, names, strict=True):
        if isinstance(target, str):
            continue
        if _says_too_little(target):
            raise UsageError(
                f"a state remembers by name, and {destination.name} is not the name of this one alone",
                hint=f"hand in Named('...', {destination.name}), with the same name each time",
            )
        if names.count(name) > 1:
            raise UsageError(
                f"a state remembers by name, and {names.count(name)} destinations are called {destination.name}",
                hint="hand in each as Named('...', ...), with a name of its own",
            )


def _unnamed(one: To) -> object:
    return one.to if isinstance(one, Named) else one


def _is_same(one: To, other: To) -> bool:
    first, second = _unnamed(one), _unnamed(other)
    if isinstance(first, str | MethodType | BuiltinMethodType):
        return type(first) is type(second) and first == second
    return first is second


def _says_too_little(given: Own | Named) -> bool:
    """Whether two different objects are easily called what this one is: progress kept by that name would be mixed up.

    So it is for a ``lambda``, a function that was defined inside another, a built-in method such as ``list.extend``,
    and an instance of a class of OpenTelemetry's own.
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


def _walled(name: str | None, given: Destination) -> OwnDestination:
    kind = type(given).__name__
    for method in ("send", "aclose"):
        if not callable(getattr(given, method, None)):
            raise UsageError(f"the destination {kind} has no method {method}", hint="see Destination in the docs")
    try:
        name = name or getattr(given, "name", None)
    except Exception as error:
        raise UsageError(f"the name of the destination {kind} cannot be read: {raised(error)}") from error
    if not isinstance(name, str) or not name:
        raise UsageError(f"the destination {kind} has no name", hint="give it a text called name, or use Named(...)")
    return OwnDestination(name, given)


def _name_of(callback: SpanCallback) -> str:
    """A function's own name, with its class where it is a method; else the class of what can be called."""
    callback = _innermost(callback)
    name: str = getattr(callback, "__qualname__", type(callback).__name__)
    return name.rpartition("<locals>.")[2]


def _innermost(callback: Callable[..., object]) -> Callable[..., object]:
    while isinstance(callback, partial):
        callback = callback.func
    return callback
