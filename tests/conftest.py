"""What holds for all tests."""

from __future__ import annotations

import signal

# A shell that starts the tests in the background has SIGINT ignored, for every process that they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)
