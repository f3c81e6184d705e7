"""Runs inside the environment of netra-sdk 1.2.2: reads every trace and span there is, and prints them as one line of JSON."""

import json

from netra import Netra

EVER = ("1980-01-01T00:00:00.000Z", "2200-01-01T00:00:00.000Z")


def main():
    Netra.init(app_name="reader", instruments=set(), root_instruments=None)
    traces = list(Netra.usage.iter_traces(*EVER, limit=100))
    print(
        json.dumps(
            {
                "traces": [trace.model_dump() for trace in traces],
                "spans": [
                    span.model_dump() for trace in traces for span in Netra.usage.iter_spans_by_trace_id(trace.id)
                ],
            }
        )
    )


main()
