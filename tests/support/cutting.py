"""A server that closes the connection on larger requests without an answer, as some proxies do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def cutting_server(most_bytes: int) -> AsyncIterator[tuple[str, list[int]]]:
    """Yield its ``DEST``, and the sizes of the bodies that clients announced; it reads no body above ``most_bytes``."""
    asked: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split()[0])
        asked.append(length)
        if length <= most_bytes:
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"otlp+http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()
