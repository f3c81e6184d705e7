"""The real servers, one of each for all end-to-end tests, whose logs are shown with a failure."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.support.jaeger import Jaeger
from tests.support.server import LOG_CHARACTERS, Server


@pytest.fixture(scope="session")
def jaeger() -> Iterator[Jaeger]:
    """Run a Jaeger that keeps what all tests of the session send: each test uses trace ids of its own."""
    with Jaeger() as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the servers' logs into the report of a test that failed."""
    report = yield
    if report.when == "call" and report.failed:
        servers = [value for value in item.funcargs.values() if isinstance(value, Server)]
        report.sections += [
            (f"the log of {type(server).__name__}", server.log()[-LOG_CHARACTERS:]) for server in servers
        ]
    return report
