"""Settings for all tests."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import settings

from tests.support.examples import is_full

# A shell that starts the tests in the background makes them ignore SIGINT, and every process that they start inherits
# that.
signal.signal(signal.SIGINT, signal.default_int_handler)

MEMORY = Path("/dev/shm")
MIN_FREE_BYTES = 2**30
"""Room that temporary files need in memory: a session takes about 70 MB. A container often gives only 64 MiB."""
GC_THRESHOLDS = (50_000, 20, 50)
"""Garbage is collected less often than by default, where collecting takes a tenth of the CPU time of the tests."""


def pytest_configure(config: pytest.Config) -> None:
    """Put temporary files in memory in sessions without fault rows: no disk delays a thousand small databases.

    Kills and failing disks are tested on a real disk.
    """
    if config.getoption("markexpr") == "not faults" and _is_usable(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
        tempfile.tempdir = str(MEMORY)
    gc.set_threshold(*GC_THRESHOLDS)


def pytest_collection_finish() -> None:
    """Leave what the collection made out of garbage collections: it lives until the session ends."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Send only two messages a test from a worker, its result and its end: all six take a millisecond of CPU more.

    A setup or a teardown is reported if it fails or prints something.
    """
    if not hasattr(item.config, "workerinput"):
        return None
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed or report.sections:
            item.ihook.pytest_runtest_logreport(report=report)
    return True


def _is_usable(directory: Path) -> bool:
    """Return whether temporary files fit into ``directory`` and may be executed."""
    if not os.access(directory, os.W_OK) or os.statvfs(directory).f_flag & os.ST_NOEXEC:
        return False
    return shutil.disk_usage(directory).free >= MIN_FREE_BYTES


# A busy machine makes an example slow, not wrong, so there is no deadline. The examples are the same each time, so that
# a failure comes from the change at hand. With CI set, Hypothesis loads its own profile, which has the same effect.
settings.register_profile("local", deadline=None, derandomize=True, max_examples=12)
if not is_full():
    settings.load_profile("local")
