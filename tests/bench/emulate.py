"""The emulator with sample traffic already generated, in a process of its own. It prints its endpoint."""

import json
import sys

from netra_otel_bridge.emulator import EmulatorOptions, serve

if __name__ == "__main__":
    traces, latency_ms = int(sys.argv[1]), float(sys.argv[2])
    serve(
        EmulatorOptions(
            port=0, seed=1, traces=traces, spans_per_trace=10, latency_s=latency_ms / 1000, warm=True, cache_bytes=2**32
        ),
        announce=lambda running: print(json.dumps({"endpoint": running.endpoint}), flush=True),
    )
