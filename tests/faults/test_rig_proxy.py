"""The proxy does as it is told, and counts what it does."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.proxy import CLEAR, Link, Proxy
from tests.support.waiting import DEADLINE_S, wait_until


class Echo:
    """A TCP server that sends back what it receives, and keeps a copy."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        with peer:
            try:
                while data := peer.recv(65536):
                    self.received += data
                    peer.sendall(data)
            except OSError:
                pass
        self.ended.set()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.port) as running:
        yield running


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=DEADLINE_S) as connected:
        yield connected


def echoed(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return exactly(client, len(data))


def exactly(client: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (more := client.recv(size - len(got))):
        got += more
    return got


def counted(value: Callable[[], object], expected: object) -> None:
    """Wait for a count: the proxy counts after it has written, so received bytes may not be counted yet."""
    wait_until(lambda: value() == expected)


def test_without_weather_everything_passes(proxy: Proxy, client: socket.socket, echo: Echo) -> None:
    """Without conditions everything passes whole, both ways, and is counted; so does the end of the stream."""
    data = bytes(range(256)) * 4000
    assert echoed(client, data) == data
    counted(lambda: (proxy.counts.connections, proxy.counts.bytes_up, proxy.counts.bytes_down), (1, 1024000, 1024000))
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    assert echo.ended.wait(DEADLINE_S)


def test_latency(proxy: Proxy, client: socket.socket) -> None:
    """Delays of both directions add up to the round trip; switched off, they are gone on the same connection."""
    proxy.up, proxy.down = Link(latency_s=0.1), Link(latency_s=0.15)
    began = time.monotonic()
    assert echoed(client, b"x") == b"x"
    slow_s = time.monotonic() - began
    assert slow_s >= 0.25
    proxy.up = proxy.down = CLEAR
    quick_s: list[float] = []
    while not quick_s or (min(quick_s) >= 0.1 and len(quick_s) < 100):
        began = time.monotonic()
        assert echoed(client, b"x") == b"x"
        quick_s.append(time.monotonic() - began)
    assert min(quick_s) < 0.1


def test_bandwidth(proxy: Proxy, client: socket.socket) -> None:
    """A limit of 100 kB/s makes 20 kB take their time."""
    proxy.down = Link(bytes_per_s=100_000, slice_bytes=1000)
    began = time.monotonic()
    assert echoed(client, b"x" * 20_000) == b"x" * 20_000
    assert time.monotonic() - began >= 0.19


def test_slicing(proxy: Proxy, client: socket.socket) -> None:
    """Writes of at most three bytes lose nothing and keep the order."""
    proxy.up = proxy.down = Link(slice_bytes=3)
    data = bytes(range(100))
    assert echoed(client, data) == data
    counted(lambda: proxy.counts.writes >= 2 * 34, True)


def test_reset_of_open_connections(proxy: Proxy, client: socket.socket) -> None:
    """The client sees a reset and not an end; new connections pass."""
    assert echoed(client, b"x") == b"x"
    assert proxy.reset() == 1
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=DEADLINE_S) as again:
        assert echoed(again, b"y") == b"y"
    assert proxy.counts.resets == 1


def test_reset_after_some_bytes(proxy: Proxy, client: socket.socket) -> None:
    """The limit counts the bytes of one connection and direction."""
    proxy.down = Link(limit_bytes=10)
    client.sendall(b"x" * 8)
    assert exactly(client, 8) == b"x" * 8
    client.sendall(b"x" * 8)
    with pytest.raises(ConnectionResetError):
        exactly(client, 100)
    assert proxy.counts.resets == 1
    assert proxy.counts.bytes_down <= 10


def test_half_close(proxy: Proxy, client: socket.socket, echo: Echo) -> None:
    """The answer ends early and in order, and the request still reaches the server."""
    proxy.down = Link(limit_bytes=4, end="half-close")
    client.sendall(b"abcdefgh")
    assert exactly(client, 100) == b"abcd"
    client.sendall(b"more")
    wait_until(lambda: bytes(echo.received) == b"abcdefghmore")
    assert proxy.counts.half_closes == 1


def test_dropped_replies(proxy: Proxy, client: socket.socket, echo: Echo) -> None:
    """The request reaches the server, and the answer never comes back."""
    proxy.down = Link(drop=True)
    client.sendall(b"request")
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.recv(1)
    wait_until(lambda: proxy.counts.dropped_bytes == 7)
    assert bytes(echo.received) == b"request"
    assert proxy.counts.bytes_down == 0


def test_silence(proxy: Proxy, client: socket.socket) -> None:
    """A stalled direction yields neither bytes nor an end."""
    proxy.down = Link(limit_bytes=2, end="stall")
    client.sendall(b"abc")
    assert exactly(client, 2) == b"ab"
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.recv(1)
    wait_until(lambda: proxy.counts.stalls == 1)


def test_refused(proxy: Proxy, client: socket.socket) -> None:
    """Nobody listens, and open connections are reset; later the same port listens again."""
    assert echoed(client, b"x") == b"x"
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=DEADLINE_S)
    proxy.listen()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=DEADLINE_S) as again:
        assert echoed(again, b"y") == b"y"


def test_no_server_behind_it() -> None:
    """If no server is behind the proxy, the client's connection ends at once and is counted."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with (
            Proxy(nobody.getsockname()[1]) as proxy,
            socket.create_connection(("127.0.0.1", proxy.port), timeout=DEADLINE_S) as client,
        ):
            with pytest.raises((ConnectionError, AssertionError)):
                assert client.recv(1), "ended"
            assert proxy.counts.refused == 1


def test_the_address_of_the_proxy(proxy: Proxy) -> None:
    """A URL keeps its scheme and path."""
    assert proxy.instead_of("http://127.0.0.1:9/a/b?c") == f"http://127.0.0.1:{proxy.port}/a/b?c"
    assert proxy.instead_of("otlp+grpc://127.0.0.1:9") == f"otlp+grpc://127.0.0.1:{proxy.port}"
