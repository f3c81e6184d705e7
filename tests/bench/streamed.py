"""The benchmark's range as a stream of spans that goes nowhere; prints one JSON document with what came."""

import json
import sys
import time

from netra_otel_bridge import Bridge
from netra_otel_bridge.cli import tune_process

if __name__ == "__main__":
    start, end, profile = sys.argv[1:4]
    tune_process()
    bridge = Bridge(profile=profile)
    started, cpu = time.perf_counter(), time.process_time()
    spans = sum(len(chunk.spans) for chunk in bridge.read_spans(from_=start, until=end))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    json.dump({"spans": spans, "seconds": seconds, "cpu_seconds": cpu}, sys.stdout)
