"""Run the service for some minutes under random faults, then compare what arrived with what was issued.

    python -m tests.soak --seconds 600 --seed 7

`run` follows a growing Netra to a file and, through a TCP proxy, to a real Jaeger. Meanwhile calls of Netra fail in all
ways of the emulator, single traces cannot be shown, the connection to Jaeger breaks, and the process is stopped and
killed. At the end all faults stop. Exit code 0 means that nothing is missing, invented or altered.
"""

from __future__ import annotations

import argparse
import logging
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from netra_otel_bridge.emulator.faults import Answer, Call, Fault
from tests.support import cli
from tests.support.child import Child
from tests.support.jaeger import Jaeger
from tests.support.oracle import MS, written_to
from tests.support.proxy import CLEAR, Link, Proxy
from tests.support.rig import Rig, running_rig
from tests.support.waiting import DEADLINE_S, wait_until

FAULTS = (
    "status-429=5", "status-500=8", "status-502=20", "status-503=100", "status-400=1", "status-401=3", "status-403=3",
    "hang=2", "reset=10", "cut-body=10", "truncated-json=10", "gzip-cut=5", "empty-page-has-next=5", "html=3",
    "has-next-missing=5", "has-next-string=5", "wrong-shape=5", "bad-item=3", "slow-body=0.5",
)  # fmt: skip
BROKEN = Link(limit_bytes=2000)
"""Link that resets a connection after two kilobytes."""


class BadTraces(Fault):
    """A fault of the spans calls of the chosen traces."""

    def __init__(self, *trace_ids: str) -> None:
        self._trace_ids = trace_ids

    def instead(self, call: Call, /) -> Answer | None:
        is_bad = call.name == "spans" and any(one in call.path for one in self._trace_ids)
        return Answer(500, b'{"message": "cannot be shown"}') if is_bad else None


class Soak:
    """The service, its Netra and its destinations; ``did`` counts what happened to them."""

    def __init__(self, rig: Rig, jaeger: Jaeger, proxy: Proxy, chance: random.Random) -> None:
        self.did: Counter[str] = Counter()
        self.peak_bytes = 0
        self._rig = rig
        self._jaeger = jaeger
        self._proxy = proxy
        self._chance = chance
        self._child: Child | None = None

    def start(self) -> None:
        """Start the service."""
        arguments = self._rig.following(None, "--to", self._proxy.instead_of(self._jaeger.otlp_grpc))
        env = self._rig.environment(OTEL_EXPORTER_PROMETHEUS_PORT="0", NETRA_USAGE_TIMEOUT="5")
        self._child = Child(*arguments, directory=self._rig.directory, env=env).__enter__()

    def stop(self, number: signal.Signals) -> None:
        """End the service by a signal. SIGTERM must end it in order."""
        assert self._child is not None
        self._child.signal(number)
        ended = self._child.wait(DEADLINE_S)
        self.peak_bytes = max(self.peak_bytes, ended.peak_bytes)
        self._child.__exit__(None, None, None)
        before_start = ended.code == -signal.SIGTERM and not ended.err  # Python had not yet loaded the command
        in_order = number is signal.SIGKILL or ended.code == 0 or before_start
        assert in_order, f"SIGTERM ended it with {ended.code}\n{ended.err[-3000:]}"

    def step(self) -> None:
        """Let one thing happen."""
        chance, rig = self._chance, self._rig
        ids = rig.oracle.trace_ids
        things: dict[str, tuple[int, Callable[[], Any]]] = {
            "traces": (
                8,
                lambda: rig.feed(chance.randint(1, 5), chance.randint(1, 9), start_ns=_recent(), every_ns=MS),
            ),
            "late spans": (3, lambda: rig.oracle.feed(rig.netra, rig.oracle.late(chance.choice(ids), 2))),
            "changed spans": (2, lambda: rig.oracle.feed(rig.netra, rig.oracle.change(self._some_spans(ids)))),
            "faults of Netra": (6, lambda: rig.netra.set_faults(chance.choice(FAULTS))),
            "bad traces": (3, lambda: rig.spoil(BadTraces(*chance.sample(ids, min(3, len(ids)))))),
            "no fault of Netra": (4, rig.netra.set_faults),
            "Jaeger cut off": (2, lambda: setattr(self._proxy, "up", BROKEN)),
            "Jaeger reached": (3, lambda: setattr(self._proxy, "up", CLEAR)),
            "SIGTERM": (1, lambda: self._again(signal.SIGTERM)),
            "SIGKILL": (1, lambda: self._again(signal.SIGKILL)),
        }
        (name,) = chance.choices(list(things), [weight for weight, _ in things.values()])
        things[name][1]()
        self.did[name] += 1
        assert self._child is not None
        assert self._child.running, f"the service ended by itself\n{self._child.err[-3000:]}"

    def _some_spans(self, ids: list[str]) -> list[Any]:
        return self._rig.oracle.span_ids(self._chance.choice(ids))[:1]

    def _again(self, number: signal.Signals) -> None:
        self.stop(number)
        self.start()

    def settle(self) -> None:
        """End all faults, retry what is held back, and wait until everything has arrived."""
        self._rig.netra.set_faults()
        self._proxy.up = CLEAR
        self.stop(signal.SIGTERM)
        held = cli.run("state", "held-back", "--retry", "--json", "--state", str(self._rig.state),
                       env=self._rig.environment())  # fmt: skip
        self.did["held back at the end"] = len(held.json["held_back"])
        self.start()
        wait_until(lambda: not self._lacks(), every_s=2.0)
        self.stop(signal.SIGTERM)

    def _lacks(self) -> bool:
        verdict = self._rig.oracle.verdict(written_to(self._rig.file))
        return bool(verdict.missing or verdict.altered or self.missing_in_jaeger())

    def missing_in_jaeger(self) -> set[Any]:
        """Return the spans that Jaeger does not have."""
        found = {
            (span["traceId"], span["spanId"])
            for trace_id in self._rig.oracle.trace_ids
            for resource_spans in self._jaeger.trace(trace_id, within_s=0)["resourceSpans"]
            for scope_spans in resource_spans["scopeSpans"]
            for span in scope_spans["spans"]
        }
        return set(self._rig.oracle.issued) - found


def _recent() -> int:
    return time.time_ns() - 30_000 * MS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # faults cut the connections of the emulator
    print(f"soaking for {arguments.seconds:.0f} s with seed {arguments.seed}", flush=True)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="netra-soak-")))
        jaeger = stack.enter_context(Jaeger())
        proxy = stack.enter_context(Proxy(int(jaeger.otlp_grpc.rpartition(":")[2])))
        rig = stack.enter_context(running_rig(directory))
        rig.feed(10, 4, start_ns=_recent(), every_ns=MS)
        chance = random.Random(arguments.seed)
        soak = Soak(rig, jaeger, proxy, chance)
        soak.start()
        until = time.monotonic() + arguments.seconds
        while time.monotonic() < until:
            time.sleep(chance.uniform(0.2, 3))
            soak.step()
        soak.settle()
        verdict = rig.oracle.verdict(written_to(rig.file))
        print(", ".join(f"{name} {number}" for name, number in soak.did.items()))
        print(
            f"{len(rig.oracle)} spans of {len(rig.oracle.trace_ids)} traces; file: {len(verdict.missing)} missing, "
            f"{len(verdict.invented)} invented, {len(verdict.altered)} altered, {verdict.repeated.total()} repeated; "
            f"Jaeger: {len(soak.missing_in_jaeger())} missing; peak {soak.peak_bytes / 2**20:.0f} MiB"
        )
        print(verdict)
        return int(bool(verdict.missing or verdict.invented or verdict.altered))


if __name__ == "__main__":
    sys.exit(main())
