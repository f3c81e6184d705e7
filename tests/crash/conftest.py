"""A rig for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rig import Rig, running_rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Run an emulator with 12 traces of 4 spans."""
    with running_rig(tmp_path) as running:
        running.feed(12, 4)
        yield running
