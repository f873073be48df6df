"""A line that is cut: what stands between a client and a door, and breaks connections off."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass
class Line:
    """Where to connect; the first connections are cut once they brought so many bytes, if any."""

    to: int
    cuts: list[int | None]
    port: int = 0
    brought: list[int] = field(default_factory=list)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection both ways, until either end is done or it is cut."""
        left = self.cuts.pop(0) if self.cuts else None
        there, back = await asyncio.open_connection("127.0.0.1", self.to)
        answers = asyncio.create_task(_copied(there, writer))
        brought = 0
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(16384):
                if left is not None and brought + len(data) >= left:
                    back.write(data[: left - brought])
                    await back.drain()
                    brought = left
                    back.transport.abort()
                    break
                back.write(data)
                await back.drain()
                brought += len(data)
        self.brought.append(brought)
        answers.cancel()
        writer.transport.abort()
        back.transport.abort()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(16384):
            writer.write(data)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def line_to(port: int, *cuts: int | None) -> AsyncIterator[Line]:
    """Open a line to the loopback *port*: its first connections are cut after so many bytes, or not."""
    line = Line(port, list(cuts))
    server = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
