"""An hourly job that copies new spans and catches up after an outage.

Each run covers the last two days. The state in ``./netra-state`` remembers what the destination received, so each run
sends only what is new or changed. After an outage of up to two days, the next run catches up. Run it with NETRA_API_KEY
and NETRA_OTLP_ENDPOINT set:

    python scheduled_job.py otlp+http://127.0.0.1:4318

From cron, each hour:

    7 * * * * cd /var/lib/netra && . ./netra.env && python scheduled_job.py otlp+http://127.0.0.1:4318

From systemd: a service with ``Type=oneshot``, ``WorkingDirectory=``, ``EnvironmentFile=`` and this command as its
``ExecStart=``, and a timer with ``OnCalendar=hourly`` and ``Persistent=true``. ``systemctl stop`` ends a run cleanly.

Exit codes are those of the command line: 0 done, 3 something was rejected, 75 try again (the next run does), 77 wrong
key.
"""

import signal
import sys
import threading

from netra_otel_bridge import Bridge, BridgeError

SINCE = "48h"
"""Must be longer than the longest outage to recover from."""


def main() -> int:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    bridge = Bridge(state="netra-state")
    try:
        report = bridge.replay(sys.argv[1] if len(sys.argv) > 1 else None, since=SINCE, stop=stop)
    except BridgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for lane in report.destinations:
        print(f"{lane.name}: {lane.delivered} spans delivered, {lane.skipped} skipped, {lane.dead_lettered} rejected")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
