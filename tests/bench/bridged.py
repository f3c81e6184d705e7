"""One replay by the bridge, in a process tuned as the command tunes its own; prints one JSON document with what it moved."""

import json
import sys
import time

from netra_otel_bridge import Bridge
from netra_otel_bridge.cli import tune_process

if __name__ == "__main__":
    start, end, sink, profile = sys.argv[1:5]
    tune_process()
    bridge = Bridge(profile=profile)
    started, cpu = time.perf_counter(), time.process_time()
    report = bridge.replay(f"otlp+grpc://{sink}", from_=start, until=end)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    spans = report.destinations[0].delivered
    json.dump({"spans": spans, "seconds": seconds, "cpu_seconds": cpu, "api_calls": report.api_calls}, sys.stdout)
