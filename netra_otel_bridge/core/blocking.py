"""Derive blocking methods from asynchronous ones, so that each signature is written once.

A `BlockingFace` passes its calls to a `LoopThread`. `blocking_here` and `blocking_iterator_here` are for functions that
keep no thread: their caller must not have a running event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from functools import wraps
from inspect import signature
from types import GenericAlias
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, get_args, get_type_hints

from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.loop_thread import LoopThread

AsyncT = TypeVar("AsyncT")
P = ParamSpec("P")
T = TypeVar("T")
PageT = TypeVar("PageT")


class BlockingFace(Generic[AsyncT]):
    """The blocking counterpart of an asynchronous object, whose methods run on the thread of ``loop``."""

    def __init__(self, asynchronous: AsyncT, loop: LoopThread) -> None:
        self._asynchronous = asynchronous
        self._loop = loop


def blocking(
    method: Callable[Concatenate[AsyncT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[BlockingFace[AsyncT], P], T]:
    """Return a blocking method that runs ``method`` and waits for its result."""

    @wraps(method)
    def call(face: BlockingFace[AsyncT], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return face._loop.run(method(face._asynchronous, *args, **kwargs))

    return call


def blocking_iterator(
    method: Callable[Concatenate[AsyncT, P], AsyncIterator[T]],
) -> Callable[Concatenate[BlockingFace[AsyncT], P], Iterator[T]]:
    """Return a blocking method that iterates over ``method``, with one step of the event loop for each item."""

    @wraps(method)
    def iterate(face: BlockingFace[AsyncT], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return face._loop.drive(method(face._asynchronous, *args, **kwargs))

    _set_iterator(iterate, method)
    return iterate


def blocking_items(
    method: Callable[Concatenate[AsyncT, P], AsyncIterator[T]],
    pages: Callable[..., AsyncIterator[PageT]],
    items: Callable[[PageT], Iterable[T]],
) -> Callable[Concatenate[BlockingFace[AsyncT], P], Iterator[T]]:
    """Return a blocking method that iterates over ``method``, with one step of the event loop for each page.

    It iterates over ``pages``, which accepts the arguments of ``method`` by name, because a step of the event loop for
    each item would take too long.
    """
    parameters = signature(method)

    @wraps(method)
    def iterate(face: BlockingFace[AsyncT], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        bound = parameters.bind(face._asynchronous, *args, **kwargs)
        bound.apply_defaults()
        _, *named = bound.arguments.items()
        for page in face._loop.drive(pages(face._asynchronous, **dict(named))):
            yield from items(page)

    _set_iterator(iterate, method)
    return iterate


def with_arguments_of(
    model: Callable[Concatenate[Any, P], None],
) -> Callable[[Callable[Concatenate[AsyncT, ...], None]], Callable[Concatenate[AsyncT, P], None]]:
    """Give an ``__init__`` the signature of ``model``, the ``__init__`` to which it passes its arguments."""

    def decorate(init: Callable[Concatenate[AsyncT, ...], None]) -> Callable[Concatenate[AsyncT, P], None]:
        @wraps(model)
        def call(self: AsyncT, /, *args: P.args, **kwargs: P.kwargs) -> None:
            init(self, *args, **kwargs)

        return call

    return decorate


def run_here(work: Coroutine[Any, Any, T], *, instead: str) -> T:
    """Run ``work`` on a new event loop, and return its result.

    Raises `UsageError` inside a running event loop: there the caller must await ``instead``.
    """
    if _is_loop_running():
        work.close()
        raise UsageError("an event loop is running in this thread", hint=f"await {instead} instead")
    return asyncio.run(work)


def blocking_here(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Return a function that runs ``method`` on a new event loop; see `run_here`."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_here(method(*args, **kwargs), instead=method.__name__)

    return call


def blocking_iterator_here(method: Callable[P, AsyncGenerator[T, None]]) -> Callable[P, Iterator[T]]:
    """Return a function that iterates over ``method`` on a new event loop. It raises the same errors as `run_here`."""

    @wraps(method)
    def iterate(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        if _is_loop_running():
            raise UsageError("an event loop is running in this thread", hint=f"iterate over {method.__name__} instead")
        return _pull(method(*args, **kwargs))

    _set_iterator(iterate, method)
    return iterate


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _pull(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """Iterate on a loop in its own thread, so that responses are handled in time while the caller is busy."""
    turn = asyncio.Lock()

    async def step() -> T | None:
        async with turn:
            return await anext(items, None)

    async def finish() -> None:
        async with turn:
            await items.aclose()

    loop = LoopThread(finish)
    try:
        while (item := loop.run(step())) is not None:
            yield item
    finally:
        loop.close()


def _set_iterator(iterate: Callable[..., object], method: Callable[..., object]) -> None:
    """Make ``help`` and `inspect` show an iterator where ``method`` returns an asynchronous one."""
    returned = GenericAlias(Iterator, get_args(get_type_hints(method)["return"])[:1])
    iterate.__annotations__ = {**method.__annotations__, "return": returned}
    vars(iterate)["__signature__"] = signature(method).replace(return_annotation=returned)
