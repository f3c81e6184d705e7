"""Usage in a real Prometheus: its counters rise by exactly what Netra's usage calls report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge import Bridge
from netra_otel_bridge.core.clock import SystemClock
from netra_otel_bridge.core.time_text import datetime_ns
from netra_otel_bridge.emulator import EmulatorOptions
from netra_otel_bridge.emulator.faults import Answer, Call, Fault, FaultEntry, Faults
from netra_otel_bridge.service.service import Service
from netra_otel_bridge.usage.ledger import periods_between
from tests.support.child import Child
from tests.support.cli import CANARY, environment
from tests.support.emulator import ThreadedEmulator, running_emulator
from tests.support.prometheus import Prometheus, running_prometheus
from tests.support.server import free_ports
from tests.support.usage import Calls

S = 10**9
COUNTERS = ("netra_usage_tokens_total", "netra_usage_requests_total", "netra_usage_cost_USD_total")
CORRECTIONS = tuple(name.replace("usage", "usage_corrections") for name in COUNTERS)


@pytest.fixture
def calls() -> Iterator[Calls]:
    with running_emulator(EmulatorOptions(port=0, api_key=CANARY)) as netra:
        yield Calls(netra)


def until(holds: Callable[[], object], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.2)


def history(prometheus: Prometheus, name: str, tenant_id: str) -> list[float]:
    """Return all samples of a counter, in order, from all processes that exposed it."""
    (found,) = prometheus._get("query", query=f'{name}{{netra_tenant_id="{tenant_id}"}}[1h]')["result"] or [
        {"values": []}
    ]
    return [float(text) for _, text in found["values"]]


def risen(prometheus: Prometheus, names: tuple[str, ...], tenant_id: str) -> tuple[float, ...]:
    """Return each counter's rise since Prometheus first saw it, which must be at 0; it must never have gone down."""
    values = [history(prometheus, name, tenant_id) or [0.0] for name in names]
    for name, one in zip(names, values, strict=True):
        assert one[0] == 0, f"{name} of {tenant_id} began at {one[0]}"
        assert one == sorted(one), f"{name} of {tenant_id} went down"
    return tuple(one[-1] for one in values)


def net(prometheus: Prometheus, tenant_id: str) -> tuple[float, ...]:
    used, corrected = (risen(prometheus, names, tenant_id) for names in (COUNTERS, CORRECTIONS))
    return tuple(one - other for one, other in zip(used, corrected, strict=True))


def same(found: tuple[float, ...], total: tuple[float, ...]) -> bool:
    return found == pytest.approx(total, rel=1e-9, abs=1e-12)


@contextmanager
def polling(calls: Calls, directory: Path, port: int, **env: str) -> Iterator[Child]:
    """Run ``run --no-traces``, with a state that lasts and a page that is always at the same address."""
    given = {
        "NETRA_BRIDGE_USAGE_POLL": "300ms",
        "NETRA_BRIDGE_USAGE_ANNOUNCE": "3s",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
        **env,
    }
    child = Child(
        "run", "--no-traces", "--state", str(directory / "state"), directory=directory,
        env=environment(calls.netra.endpoint, **given),
    )  # fmt: skip
    with child:
        yield child


def test_what_counters_rise_by_is_what_was_used(calls: Calls, tmp_path: Path) -> None:
    """``increase`` and Netra agree, without a reset of any counter, if usage grows, comes late, shrinks, starts for a
    new tenant, or comes while the bridge is killed.
    """
    now = time.time_ns
    calls.more("ace", now() - 3600 * S, prompt=10**6)
    before = calls.total("ace")
    (port,) = free_ports(1)
    with running_prometheus(tmp_path, scrape=[f"127.0.0.1:{port}"]) as prometheus:

        def settled(*tenants: str) -> bool:
            """Return whether Prometheus has seen all usage since the bridge began."""
            base = {"ace": before}
            return all(
                same(
                    net(prometheus, one),
                    tuple(a - b for a, b in zip(calls.total(one), base.get(one, (0, 0, 0)), strict=True)),
                )
                for one in tenants
            )

        with polling(calls, tmp_path, port) as bridge:
            until(lambda: history(prometheus, COUNTERS[0], "ace"))
            for _ in range(5):
                calls.more("ace", now())
                time.sleep(0.3)
            calls.more("bee", now(), model="gpt-4o-mini", prompt=0)
            calls.more("ace", now() - 1800 * S, prompt=7)
            until(lambda: settled("ace"))
            bridge.kill()
        calls.more("ace", now(), prompt=555)
        calls.more("new", now(), prompt=321)
        with polling(calls, tmp_path, port) as bridge:
            until(lambda: settled("ace", "new"))
            calls.change(2, prompt=1)
            until(lambda: settled("ace", "new"))
            assert risen(prometheus, CORRECTIONS, "ace")[0] == 99
            calls.more("ace", now(), prompt=3)
            until(lambda: settled("ace", "new"))
            bridge.kill()
        for _ in range(3):
            with polling(calls, tmp_path, port) as bridge:
                calls.more("ace", now(), prompt=50)
                time.sleep(1.5)
                bridge.kill()
        with polling(calls, tmp_path, port) as bridge:
            until(lambda: settled("ace", "new"))
            for name in (*COUNTERS, *CORRECTIONS):
                assert {value for _, value in prometheus.query(f"resets({name}[1h])")} == {0}
            ((_, rise),) = prometheus.query(f'increase({COUNTERS[0]}{{netra_tenant_id="ace"}}[1h])')
            assert rise == pytest.approx(risen(prometheus, COUNTERS, "ace")[0], rel=0.1)


def test_the_otlp_receiver_gets_the_same_figures(calls: Calls, tmp_path: Path) -> None:
    """Metrics that are sent each second instead of scraped have the same names, labels and values, across a restart."""
    with running_prometheus(tmp_path) as prometheus:
        env = {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": prometheus.otlp_endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        }
        calls.more("ace", time.time_ns() - 3600 * S)
        before = calls.total("ace")
        for _ in range(2):
            with polling(calls, tmp_path, 0, **env) as bridge:
                until(lambda: history(prometheus, COUNTERS[0], "ace"))
                for _ in range(3):
                    calls.more("ace", time.time_ns())
                    time.sleep(0.5)
                used = tuple(a - b for a, b in zip(calls.total("ace"), before, strict=True))
                until(lambda used=used: same(risen(prometheus, COUNTERS, "ace"), used))
                bridge.kill()
        (_, tokens), *_ = prometheus.query(
            'netra_usage_period_tokens{netra_tenant_id="ace",netra_usage_period="current"}'
        )
        month = next(periods_between(time.time_ns(), time.time_ns(), "month"))
        assert tokens == calls.total("ace", month.start_ns)[0]


class Elsewhen(SystemClock):
    """The machine's clock, off by ``off_ns``."""

    def __init__(self, off_ns: int) -> None:
        self._off_ns = off_ns

    def now_ns(self) -> int:
        return super().now_ns() + self._off_ns


class Dated(Fault):
    """A Netra whose clock is off as well."""

    def __init__(self, clock: Elsewhen) -> None:
        self._clock = clock

    def alter(self, _call: Call, answer: Answer, /) -> Answer:
        date = format_datetime(datetime.fromtimestamp(self._clock.now_ns() / S, UTC), usegmt=True)
        return replace(answer, headers=(*answer.headers, ("Date", date)))


def spoil(netra: ThreadedEmulator, fault: Fault) -> None:
    in_force = Faults(("fault",), {"fault": FaultEntry("", lambda _: fault)})
    netra.call(lambda: netra.emulator.use_faults(in_force))


async def test_a_month_ends_under_prometheus(calls: Calls, tmp_path: Path) -> None:
    """The counter continues, the gauge of the current period starts again, and the gauge of the previous one includes late usage."""
    december = datetime_ns(datetime(2026, 12, 1, tzinfo=UTC))
    clock = Elsewhen(december - 20 * S - time.time_ns())
    spoil(calls.netra, Dated(clock))
    settings: dict[str, Any] = {
        "usage_poll": "300ms",
        "usage_announce": "3s",
        "http_port": 0,
        "state": str(tmp_path / "s"),
    }
    bridge = Bridge(environ={}, endpoint=calls.netra.endpoint, api_key=CANARY, clock=clock, **settings)
    service, stop = Service(bridge, traces=False), asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    while not service.address:  # noqa: ASYNC110
        await asyncio.sleep(0.05)

    def watch() -> None:
        def period(name: str) -> float:
            found = prometheus.query(f'netra_usage_period_tokens{{netra_tenant_id="ace",netra_usage_period="{name}"}}')
            return found[0][1] if found else -1

        def used(start_ns: int = 0, end_ns: int = 2**63) -> int:
            return calls.total("ace", start_ns, end_ns)[0]

        with running_prometheus(tmp_path, scrape=[service.address]) as prometheus:
            calls.more("ace", clock.now_ns(), prompt=1000)
            until(lambda: history(prometheus, COUNTERS[0], "ace"))
            until(lambda: clock.now_ns() > december + S)
            calls.more("ace", december - S, prompt=200)
            calls.more("ace", clock.now_ns(), prompt=30)
            until(lambda: same(net(prometheus, "ace"), calls.total("ace")))
            assert period("previous") == used(0, december)
            assert period("current") == used(december)

    try:
        await asyncio.to_thread(watch)
    finally:
        stop.set()
        await running
