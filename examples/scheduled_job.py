"""An hourly job that copies what is new, and catches up by itself after an outage.

Each run asks for the last two days, and the state in ``./netra-state`` knows what the destination has had: only what is
new or changed since is read and sent. A job that failed, or a machine that was off, costs nothing but time, up to the
two days. Run it with NETRA_API_KEY and NETRA_OTLP_ENDPOINT set:

    python scheduled_job.py otlp+http://127.0.0.1:4318

From cron, each hour:

    7 * * * * cd /var/lib/netra && . ./netra.env && python scheduled_job.py otlp+http://127.0.0.1:4318

From systemd: a service with ``Type=oneshot``, ``WorkingDirectory=``, ``EnvironmentFile=`` and this command as its
``ExecStart=``, and a timer with ``OnCalendar=hourly`` and ``Persistent=true``. ``systemctl stop`` ends a run in order.

Exit codes are those of the command line: 0 done, 3 something was refused, 75 try again (with the next hour), 77 the key.
"""

import signal
import sys
import threading

from netra_otel_bridge import Bridge, BridgeError

SINCE = "48h"
"""Longer than any outage that is to be caught up with."""


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
        print(f"{lane.name}: {lane.delivered} spans delivered, {lane.skipped} were there, {lane.dead_lettered} refused")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
