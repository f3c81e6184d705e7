"""Run the command line with ``python -m netra_otel_bridge``."""

from netra_otel_bridge.cli import main

main()
