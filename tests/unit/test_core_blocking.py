"""Blocking methods have the signatures of the asynchronous ones, and take one step of the event loop a page."""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncIterator, Iterator

import pytest

from netra_otel_bridge import Bridge, ConfigurationError, NetraClient, TraceSummary, UsageError
from netra_otel_bridge.core.blocking import BlockingFace, blocking_items, blocking_iterator
from netra_otel_bridge.core.loop_thread import LoopThread
from netra_otel_bridge.source.client import AsyncNetraClient
from netra_otel_bridge.source.dashboard import AsyncDashboard
from netra_otel_bridge.source.sync import Dashboard

FACES = [(AsyncNetraClient, NetraClient), (AsyncDashboard, Dashboard)]
ASYNC_ONLY = {"aclose", "base_url", "counting", "holding", "netra_now_ns", "use_api_key", "watch_dates", "within"}


class Numbers:
    """A source of numbers, page by page, asynchronously."""

    async def pages(self, first: int, last: int = 5) -> AsyncIterator[list[int]]:
        """Yield pages of two numbers."""
        for number in range(first, last, 2):
            yield [number, number + 1]

    async def items(self, first: int, last: int = 3) -> AsyncIterator[int]:
        """Yield the numbers, one by one."""
        async for page in self.pages(first, last):
            for number in page:
                yield number


class CountingLoop(LoopThread):
    """An event loop that counts the steps that it runs."""

    steps = 0

    def run(self, work: typing.Any) -> typing.Any:
        self.steps += 1
        return super().run(work)


class Face(BlockingFace[Numbers]):
    """The numbers, without asyncio."""

    pages = blocking_iterator(Numbers.pages)
    items = blocking_items(Numbers.items, Numbers.pages, lambda page: page)


@pytest.fixture
def loop() -> Iterator[CountingLoop]:
    async def finish() -> None:
        """Do nothing: there is nothing to release."""

    loop = CountingLoop(finish)
    yield loop
    loop.close()


@pytest.mark.parametrize(("asynchronous", "face"), FACES)
def test_a_face_has_every_call_with_its_parameters(asynchronous: type, face: type) -> None:
    """Names, order and defaults of parameters are the same; only the kind of iterator differs."""
    for name, method in inspect.getmembers(asynchronous, inspect.isfunction):
        if name.startswith("_") or name in ASYNC_ONLY:
            continue
        given, wanted = inspect.signature(getattr(face, name)), inspect.signature(method)
        assert given.parameters == wanted.parameters
        assert ("AsyncIterator" in str(wanted.return_annotation)) == ("abc.Iterator[" in str(given.return_annotation))
    assert inspect.signature(NetraClient) == inspect.signature(AsyncNetraClient)
    assert typing.get_type_hints(NetraClient.iter_traces)["return"] == Iterator[TraceSummary]


def test_items_cross_the_threads_once_a_page(loop: CountingLoop) -> None:
    """Items use their own default arguments, and cross threads once a page."""
    face = Face(Numbers(), loop)
    assert list(face.items(1)) == [1, 2]
    assert loop.steps == 2
    assert list(face.items(1, last=9)) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert loop.steps == 7
    assert list(face.pages(1)) == [[1, 2], [3, 4]]


def test_an_error_without_a_running_loop_is_the_only_one() -> None:
    """The check for a running event loop leaves no exception in the traceback."""
    bridge = Bridge(environ={})
    for call in (lambda: bridge.estimate(since="1h"), lambda: next(bridge.read_spans(since="1h"))):
        with pytest.raises(ConfigurationError) as raised:
            call()
        assert raised.value.__context__ is None


async def test_an_iterator_refuses_a_running_loop() -> None:
    """The message names the asynchronous method."""
    with pytest.raises(UsageError, match="iterate over aread_spans instead"):
        Bridge(environ={}).read_spans(since="1h")
