"""A line between a client and a door that breaks connections off, in a thread of its own."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

_PIECE = 1 << 16


@dataclass
class Line:
    """Where to connect; `cuts` says of each connection to come after how many bytes it breaks.

    The bytes are those to the door and those from it; None is never. When there are no cuts left,
    connections last.
    """

    to: int
    port: int
    cuts: list[tuple[int | None, int | None]] = field(default_factory=list)
    up: list[int] = field(default_factory=list)
    down: list[int] = field(default_factory=list)

    def carry(self, client: socket.socket) -> None:
        """Carry one connection both ways until an end closes it or it breaks."""
        up, down = self.cuts.pop(0) if self.cuts else (None, None)
        try:
            door = socket.create_connection(("127.0.0.1", self.to))
        except ConnectionError:
            client.close()
            return
        ways = [
            threading.Thread(target=_copy, args=(client, door, up, self.up)),
            threading.Thread(target=_copy, args=(door, client, down, self.down)),
        ]
        for way in ways:
            way.start()
        for way in ways:
            way.join()
        client.close()
        door.close()


def _copy(source: socket.socket, target: socket.socket, most: int | None, counts: list[int]) -> None:
    brought = 0
    with contextlib.suppress(OSError):
        while data := source.recv(_PIECE if most is None else min(_PIECE, most - brought)):
            target.sendall(data)
            brought += len(data)
            if most is not None and brought >= most:
                break
    counts.append(brought)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def line_to(port: int) -> Iterator[Line]:
    """Open a line to the loopback *port*."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = Line(port, server.getsockname()[1])

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    threading.Thread(target=line.carry, args=(client,)).start()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield line
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
