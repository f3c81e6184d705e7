"""The gRPC server: authentication, TLS, address, health, reflection, limits and shutdown."""

from __future__ import annotations

import asyncio
import hmac
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from netra_otel_bridge.core.errors import ConfigurationError
from netra_otel_bridge.service.rpc import auth, health, server
from netra_otel_bridge.v1 import bridge_pb2 as pb
from netra_otel_bridge.v1 import bridge_pb2_grpc
from tests.support.cli import run as run_command
from tests.support.examples import spread
from tests.support.http2 import RawCall
from tests.support.rig import Rig, running_rig
from tests.support.rpc import CREDENTIALS, EVER, TOKEN, Served, answered, full, refusal_of, serving
from tests.support.waiting import DEADLINE_S, SOON_S, until

STATUS = pb.GetStatusRequest()
METHODS: dict[str, Any] = {
    "GetStatus": STATUS,
    "ReadSpans": pb.ReadSpansRequest(range=EVER),
    "StartReplay": pb.StartReplayRequest(range=EVER),
    "WatchReplay": pb.WatchReplayRequest(replay_id="none"),
    "VerifySpans": pb.VerifySpansRequest(range=EVER),
}
WRONG_TOKENS: list[tuple[Any, str]] = [
    ((), "TOKEN_MISSING"),
    ((("authorization-bin", f"Bearer {TOKEN}".encode()),), "TOKEN_MISSING"),
    ((("authorization", "Bearer wrong"),), "TOKEN_WRONG"),
    ((("authorization", f"Bearer {TOKEN[:-1]}"),), "TOKEN_WRONG"),
    ((("authorization", f"Bearer {TOKEN}x"),), "TOKEN_WRONG"),
    ((("authorization", f"Basic {TOKEN}"),), "TOKEN_WRONG"),
    ((("authorization", TOKEN),), "TOKEN_WRONG"),
    ((("authorization", ""),), "TOKEN_WRONG"),
    ((("authorization", "Bearer "),), "TOKEN_WRONG"),
    ((("authorization", "Bearer wrong"), ("authorization", f"Bearer {TOKEN}")), "TOKEN_WRONG"),
]
"""Metadata of calls without the right token, each with the reason that the client gets."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_rig(tmp_path_factory.mktemp("rpc")) as running:
        running.feed(3, 2)
        yield running


@pytest.fixture
async def served(rig: Rig, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(rig, state=str(tmp_path / "state")) as running:
        yield running


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def files(authority: trustme.CA, directory: Path, name: str = "127.0.0.1") -> dict[str, str]:
    """Write a certificate and its key; return them as settings."""
    issued = authority.issue_cert(name)
    issued.private_key_pem.write_to_path(str(directory / "key.pem"))
    (directory / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return {"grpc_certificate": str(directory / "cert.pem"), "grpc_key": str(directory / "key.pem")}


def trusting(authority: trustme.CA, client: trustme.LeafCert | None = None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(),
        client and client.private_key_pem.bytes(),
        client and b"".join(blob.bytes() for blob in client.cert_chain_pems),
    )


@pytest.mark.parametrize(("method", "wrong"), spread(2, METHODS, WRONG_TOKENS))
async def test_no_token_or_a_wrong_one(
    served: Served, monkeypatch: pytest.MonkeyPatch, method: str, wrong: tuple[Any, str]
) -> None:
    """The call ends with UNAUTHENTICATED before a handler runs, and the status does not contain the token."""
    metadata, reason = wrong
    reached: list[str] = []
    monkeypatch.setattr("netra_otel_bridge.service.rpc.limits.CallLimits._run", lambda *_: reached.append("a handler"))
    given = await refusal_of(getattr(served.stub, method)(METHODS[method], metadata=metadata))
    assert (given.code, given.reason, given.domain) == ("UNAUTHENTICATED", reason, "netra-otel-bridge")
    assert TOKEN not in str(given)
    assert reached == []


async def test_a_call_without_a_token_is_rejected_before_its_request_arrives(served: Served) -> None:
    """This holds for a client that sends no message, and for a method that does not exist."""
    call = served.channel.stream_stream("/netra_otel_bridge.v1.BridgeService/GetStatus")()
    async with asyncio.timeout(DEADLINE_S):
        assert (await refusal_of(call)).code == "UNAUTHENTICATED"
        unknown = served.channel.unary_unary("/netra_otel_bridge.v1.BridgeService/GetKey")
        assert (await refusal_of(unknown(b""))).code == "UNAUTHENTICATED"
        assert (await refusal_of(unknown(b"", metadata=CREDENTIALS))).code == "UNIMPLEMENTED"


async def test_the_token_is_compared_in_constant_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are compared whole, with ``hmac.compare_digest``."""
    compared: list[tuple[Any, Any]] = []

    class Watched:
        @staticmethod
        def compare_digest(one: Any, other: Any) -> bool:
            compared.append((one, other))
            return hmac.compare_digest(one, other)

    monkeypatch.setattr(auth, "hmac", Watched)
    await served.stub.GetStatus(STATUS, metadata=CREDENTIALS)
    assert (await refusal_of(served.stub.GetStatus(STATUS, metadata=(("authorization", "bearer no"),)))).reason
    assert compared == [(TOKEN.encode(), TOKEN.encode()), (b"no", TOKEN.encode())]


async def test_the_scheme_has_any_case(served: Served) -> None:
    """The scheme is case-insensitive (RFC 9110)."""
    answer = await served.stub.GetStatus(STATUS, metadata=(("authorization", f"bEARER {TOKEN}"),))
    assert answer.version


async def test_tls(rig: Rig, authority: trustme.CA, tmp_path: Path) -> None:
    """Clients that trust the authority and have the token are served; others, and plain text, are not."""
    settings = {"state": str(tmp_path / "state"), **files(authority, tmp_path)}
    async with serving(rig, credentials=trusting(authority), **settings) as served:
        assert (await served.stub.GetStatus(STATUS, metadata=CREDENTIALS)).version
        assert (await refusal_of(served.stub.GetStatus(STATUS))).reason == "TOKEN_MISSING"
        for channel in (
            grpc.aio.insecure_channel(served.address),
            grpc.aio.secure_channel(served.address, trusting(trustme.CA())),
        ):
            async with channel:
                call = bridge_pb2_grpc.BridgeServiceStub(channel).GetStatus(STATUS, metadata=CREDENTIALS)
                assert (await refusal_of(call)).code == "UNAVAILABLE"


@pytest.mark.parametrize("token", [None, TOKEN])
async def test_mutual_tls(rig: Rig, authority: trustme.CA, tmp_path: Path, token: str | None) -> None:
    """A client certificate is a credential by itself; with a token configured, both are required."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    settings = {"grpc_token": token, "grpc_client_ca": str(tmp_path / "ca.pem"), **files(authority, tmp_path)}
    client = authority.issue_cert("somebody")
    async with serving(
        rig, credentials=trusting(authority, client), state=str(tmp_path / "state"), **settings
    ) as served:
        if token is None:
            assert (await served.stub.GetStatus(STATUS)).version
        else:
            assert (await served.stub.GetStatus(STATUS, metadata=CREDENTIALS)).version
            assert (await refusal_of(served.stub.GetStatus(STATUS))).reason == "TOKEN_MISSING"
        strangers = (None, trustme.CA().issue_cert("somebody"))
        for stranger in strangers:
            async with grpc.aio.secure_channel(served.address, trusting(authority, stranger)) as channel:
                call = bridge_pb2_grpc.BridgeServiceStub(channel).GetStatus(STATUS, metadata=CREDENTIALS)
                assert (await refusal_of(call)).code == "UNAVAILABLE"


async def test_certificates_are_renewed_while_it_runs(
    rig: Rig, authority: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next connection gets the new certificate; a broken file is logged and changes nothing."""
    (tmp_path / "next").mkdir()
    settings = files(authority, tmp_path)
    other = trustme.CA()

    async def answers(trusted: trustme.CA, address: str) -> bool:
        options = (("grpc.use_local_subchannel_pool", 1),)
        async with grpc.aio.secure_channel(address, trusting(trusted), options) as channel:
            try:
                await bridge_pb2_grpc.BridgeServiceStub(channel).GetStatus(STATUS, metadata=CREDENTIALS)
            except grpc.aio.AioRpcError:
                return False
            return True

    async with serving(rig, state=str(tmp_path / "state"), **settings) as served:
        assert await answers(authority, served.address)
        (tmp_path / "cert.pem").write_text("half of a fi")
        assert await answers(authority, served.address)
        assert "cannot use the changed TLS files" in caplog.text
        for path in files(other, tmp_path / "next").values():
            Path(path).replace(tmp_path / Path(path).name)
        assert await answers(other, served.address)
        assert not await answers(authority, served.address)


HOST, PORT = "NETRA_BRIDGE_GRPC_HOST", "NETRA_BRIDGE_GRPC_PORT"
GRPC = {
    "token": "NETRA_BRIDGE_GRPC_TOKEN",
    "certificate": "NETRA_BRIDGE_GRPC_CERTIFICATE",
    "key": "NETRA_BRIDGE_GRPC_KEY",
}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({HOST: "0.0.0.0", GRPC["token"]: TOKEN}, "would be open to other machines at 0.0.0.0 without TLS"),
        ({HOST: "::", GRPC["token"]: TOKEN}, "would be open to other machines at :: without TLS"),
        ({HOST: "bridge.example", GRPC["token"]: TOKEN}, "would be open to other machines at bridge.example"),
        (
            {HOST: "0.0.0.0", GRPC["certificate"]: "cert.pem", GRPC["key"]: "key.pem"},
            "neither grpc_token nor grpc_client_ca",
        ),
        ({PORT: "0"}, "neither grpc_token nor grpc_client_ca"),
        ({GRPC["token"]: TOKEN, GRPC["certificate"]: "cert.pem"}, "needs both a certificate and its key"),
        ({"NETRA_BRIDGE_GRPC_CLIENT_CA": "ca.pem"}, "needs both a certificate and its key"),
        ({GRPC["token"]: TOKEN, GRPC["certificate"]: "none.pem", GRPC["key"]: "none.pem"}, "none.pem"),
        ({GRPC["token"]: TOKEN, GRPC["certificate"]: "cert.pem", GRPC["key"]: "other.pem"}, "cannot set up TLS"),
    ],
)
def test_an_unprotected_service_does_not_start(
    rig: Rig, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], said: str
) -> None:
    """The command exits with 78 and one line that says what to set, before it reads anything."""
    monkeypatch.chdir(tmp_path)
    files(authority, tmp_path)
    authority.issue_cert("127.0.0.1").private_key_pem.write_to_path(str(tmp_path / "other.pem"))
    calls = rig.calls()
    arguments = ("run", "--no-usage", "--state", str(tmp_path / "state"), "--to", "otlp-file:out.jsonl")
    ended = run_command(*arguments, env=rig.environment(OTEL_EXPORTER_PROMETHEUS_PORT="0", **given))
    assert ended.code == 78
    assert said in ended.said
    assert "NETRA_BRIDGE_GRPC" in ended.said or "PEM files" in ended.said
    assert TOKEN not in ended.err
    assert rig.calls() == calls


async def test_a_port_that_is_in_use(rig: Rig, tmp_path: Path) -> None:
    """The error names the address, and nothing is left behind."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}") as raised:
            async with serving(rig, state=str(tmp_path / "state"), grpc_port=port):
                pass
    assert "NETRA_BRIDGE_GRPC_PORT" in raised.value.hint


async def test_a_health_check_needs_no_token(served: Served) -> None:
    """Check answers for "" and for the service by name; any other service is unknown. Watch needs the token."""
    health = health_pb2_grpc.HealthStub(served.channel)
    serves = health_pb2.HealthCheckResponse.SERVING
    for name in ("", "netra_otel_bridge.v1.BridgeService"):
        assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == serves
    assert (await refusal_of(health.Check(health_pb2.HealthCheckRequest(service="other")))).code == "NOT_FOUND"
    assert (await refusal_of(health.Watch(health_pb2.HealthCheckRequest()))).reason == "TOKEN_MISSING"
    watch = health.Watch(health_pb2.HealthCheckRequest(), metadata=CREDENTIALS)
    assert (await watch.read()).status == serves
    watch.cancel()


async def test_health_is_that_of_the_lanes_and_ends_with_the_service(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While Netra is down, health is NOT_SERVING, but `BridgeService` SERVING; then both are SERVING; a stop is NOT_SERVING."""
    rig.netra.set_faults("status-503=1000000")
    status = health_pb2.HealthCheckResponse
    async with serving(rig, state=str(tmp_path / "state"), traces=True) as served:
        health = health_pb2_grpc.HealthStub(served.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(), metadata=CREDENTIALS)
        assert (await watch.read()).status == status.NOT_SERVING
        named = health_pb2.HealthCheckRequest(service="netra_otel_bridge.v1.BridgeService")
        assert (await health.Check(named)).status == status.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await health.Check(health_pb2.HealthCheckRequest(service="nobody's"))
        assert (raised.value.code(), "a call failed" in caplog.text) == (grpc.StatusCode.NOT_FOUND, False)
        assert not (await served.stub.GetStatus(STATUS, metadata=CREDENTIALS)).ready
        rig.netra.set_faults()
        async with asyncio.timeout(DEADLINE_S):
            assert (await watch.read()).status == status.SERVING
        served.stop.set()
        assert (await watch.read()).status == status.NOT_SERVING
        assert (await refusal_of(watch)).reason == "SHUTTING_DOWN"


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_is_off_and_comes_on_request_with_the_token(
    rig: Rig, tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reflection describes every message of the service. A stop ends it without the grace period."""
    monkeypatch.setattr(server, "CALL_GRACE_S", DEADLINE_S)
    messages = reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse
    request = messages[0](file_containing_symbol="netra_otel_bridge.v1.BridgeService")

    def opened(served: Served, *requests: Any, metadata: Any) -> Any:
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        stub = served.channel.stream_stream(path, messages[0].SerializeToString, messages[1].FromString)
        return stub(*requests, metadata=metadata)

    async def ask(served: Served, metadata: Any) -> Any:
        return [answer async for answer in opened(served, iter([request]), metadata=metadata)]

    async with serving(rig, state=str(tmp_path / "state")) as served:
        assert (await refusal_of(opened(served, metadata=CREDENTIALS))).code == "UNIMPLEMENTED"
    async with serving(rig, state=str(tmp_path / "state"), grpc_reflection=True) as served:
        assert (await refusal_of(opened(served, metadata=()))).code == "UNAUTHENTICATED"
        (answer,) = await ask(served, CREDENTIALS)
        assert answer.file_descriptor_response.file_descriptor_proto
        left_open = opened(served, metadata=CREDENTIALS)
        await left_open.write(request)
        await left_open.read()
        began = time.monotonic()
        served.stop.set()
        assert (await refusal_of(left_open)).reason == "SHUTTING_DOWN"
        await served.ended
        assert time.monotonic() - began < SOON_S


async def test_a_request_that_is_too_large(served: Served) -> None:
    """A request above 1 MiB is rejected, and the connection stays open."""
    large = pb.ReadSpansRequest(trace_id="a" * (2**20 + 1))
    assert (await refusal_of(served.stub.ReadSpans(large, metadata=CREDENTIALS))).code == "RESOURCE_EXHAUSTED"
    assert (await served.stub.GetStatus(STATUS, metadata=CREDENTIALS)).version


async def test_calls_are_capped(rig: Rig, tmp_path: Path) -> None:
    """A call above ``grpc_calls`` gets a retry delay, and succeeds once another call has ended."""
    async with serving(rig, state=str(tmp_path / "state"), grpc_calls=2) as served:
        open_calls = [served.stub.FollowSpans(metadata=CREDENTIALS) for _ in range(2)]
        for number, call in enumerate(open_calls):
            await call.write(pb.FollowSpansRequest(start=pb.FollowStart(subscription=f"s{number}")))
            await call.initial_metadata()
        given = await refusal_of(served.stub.GetStatus(STATUS, metadata=CREDENTIALS))
        assert (given.code, given.reason, given.retry_s) == ("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS", 1.0)
        assert "grpc_calls" in given.hint
        open_calls[0].cancel()
        await until(lambda: answered(served))
        assert len((await served.stub.GetStatus(STATUS, metadata=CREDENTIALS)).subscriptions) == 1


async def test_calls_without_a_request_are_capped_too(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that stay half open are rejected by gRPC itself above both limits, and make room when their clients leave.

    grpcio 1.74 may still reject the next call: it decides when it begins to wait for one.
    """
    monkeypatch.setattr(server, "SPARE_CALLS", 4)
    async with serving(rig, state=str(tmp_path / "state"), grpc_calls=2) as served:
        paths = ("/grpc.health.v1.Health/Check", "GetStatus") * 3
        mute = [await asyncio.to_thread(RawCall, served.address, path, half_closes=False) for path in paths]
        while not await full(served):
            assert len(mute) < 40
            mute.append(await asyncio.to_thread(RawCall, served.address, "GetStatus", half_closes=False))
        given = await refusal_of(served.stub.GetStatus(STATUS, metadata=CREDENTIALS))
        assert (given.code, given.reason) == ("RESOURCE_EXHAUSTED", "")
        for one in mute:
            one.close()
        await until(lambda: answered(served))


async def test_health_checks_do_not_count_against_the_cap(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health checks need no token, so checks that are held open end for newer ones, and use up no calls."""
    monkeypatch.setattr(server, "SPARE_CALLS", 20)
    monkeypatch.setattr(health, "MAX_CHECKS", 4)
    monkeypatch.setattr(health, "CHECK_S", DEADLINE_S)
    async with serving(rig, state=str(tmp_path / "state"), grpc_calls=2) as served:
        path = "/grpc.health.v1.Health/Check"
        check = health_pb2_grpc.HealthStub(served.channel).Check
        with ExitStack() as mute:
            for _ in range(30):
                mute.callback((await asyncio.to_thread(RawCall, served.address, path, half_closes=False)).close)
                assert (await check(health_pb2.HealthCheckRequest())).status
                assert (await served.stub.GetStatus(STATUS, metadata=CREDENTIALS)).version


async def test_a_stop_ends_streams_and_is_told_to_each(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each client gets UNAVAILABLE with the reason and a retry delay, without the grace period."""
    monkeypatch.setattr(server, "CALL_GRACE_S", DEADLINE_S)
    async with serving(rig, state=str(tmp_path / "state")) as served:
        follow = served.stub.FollowSpans(metadata=CREDENTIALS)
        await follow.write(pb.FollowSpansRequest(start=pb.FollowStart(subscription="mine")))
        await follow.initial_metadata()
        began = time.monotonic()
        served.stop.set()
        given = await refusal_of(follow)
        assert (given.code, given.reason, given.retry_s) == ("UNAVAILABLE", "SHUTTING_DOWN", 2.0)
        await served.ended
        assert time.monotonic() - began < SOON_S
