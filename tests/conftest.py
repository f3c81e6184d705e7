"""Settings for all tests."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

from tests.support.examples import is_full

# A shell that starts the tests in the background makes them ignore SIGINT, and every process that they start inherits
# that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The tests open and close a thousand databases. In memory, no disk keeps them waiting.
if os.access("/dev/shm", os.W_OK):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/dev/shm")

# A busy machine makes an example slow, not wrong, so there is no deadline. The examples are the same each time, so that
# a failure comes from the change at hand. With CI set, Hypothesis loads its own profile, which has the same effect.
settings.register_profile("local", deadline=None, derandomize=True, max_examples=25)
if not is_full():
    settings.load_profile("local")
