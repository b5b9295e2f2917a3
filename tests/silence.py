"""A network that falls silent: a proxy on loopback that takes what is sent, and carries nothing of it.

Connections that were open when it fell silent stay open and stay silent; new ones are carried. It takes the bytes as a
kernel does whose server hangs: nobody who sends notices anything.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import make_url

_PIECE = 65_536
_LOOK_S = 0.05


class Silence:
    """The proxy before one port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._silent: set[socket.socket] = set()
        self._others: dict[socket.socket, socket.socket] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def fall(self) -> None:
        """Carry nothing more of the connections that there are."""
        self._silent = set(self._others)

    def close(self) -> None:
        self._ended.set()
        self._thread.join(10)
        for one in [self._listener, *self._others]:
            one.close()

    def _carry(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._ended.is_set():
                for found, _ in selector.select(_LOOK_S):
                    one = found.fileobj
                    assert isinstance(one, socket.socket)
                    if one is self._listener:
                        self._open(selector)
                    elif one in self._others:
                        self._pass_on(selector, one)

    def _open(self, selector: selectors.BaseSelector) -> None:
        pair = self._listener.accept()[0], socket.create_connection(("127.0.0.1", self._port))
        self._others.update(zip(pair, reversed(pair), strict=True))
        for one in pair:
            selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, selector: selectors.BaseSelector, one: socket.socket) -> None:
        data, other = b"", self._others[one]
        with suppress(OSError):
            data = one.recv(_PIECE)
            if data and one not in self._silent:
                other.sendall(data)
        if not data:
            for end in (one, other):
                selector.unregister(end)
                del self._others[end]
                end.close()


@contextmanager
def silence(address: str) -> Iterator[tuple[Silence, str]]:
    """Give a proxy before a database, and the address behind it."""
    url = make_url(address)
    assert url.port is not None
    proxy = Silence(url.port)
    try:
        yield proxy, url.set(port=proxy.port).render_as_string(hide_password=False)
    finally:
        proxy.close()
