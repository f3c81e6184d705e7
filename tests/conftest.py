"""Settings for all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

from tests.support.examples import is_full

# A shell that starts the tests in the background ignores SIGINT, and every process that they start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine makes an example slow, not wrong: no deadline. The same examples each time: a failure is about the
# change in hand. With CI set, Hypothesis loads its own profile, which says the same of all examples.
settings.register_profile("local", deadline=None, derandomize=True, max_examples=25)
if not is_full():
    settings.load_profile("local")
