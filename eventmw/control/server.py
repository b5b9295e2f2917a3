"""The control channel: a Unix-domain socket by which commands on the same machine reach the process of a running site.

A connection carries one request, one line of JSON ``{"op": …, …}``, and its answer, lines of JSON: ``{"item": …}`` any
number of times, then ``{"end": true}`` or ``{"error": kind, "message": …}``. An answer without its last line was cut off.
Only the site's own user may enter the folder of the sockets.

Layer: input and output. What is asked is not known here, see `operations`; who asks is `live`. Nothing in here raises
into the site: without a socket, commands do not find the process, and the log says so once.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from eventmw.control.sockets import SUFFIX, folder_of, is_answered, prepare, short
from eventmw.errors import InvalidEvent, JournalDown, JournalFull
from eventmw.forks import after_fork_in_child
from eventmw.jsontext import encode
from eventmw.lifetimes import THREAD_NAME, caretaker

log = logging.getLogger("eventmw.control.server")

MAX_REQUEST_BYTES: Final = 8 * 1024 * 1024
"""A payload is a mebibyte at most by default, and JSON inside JSON grows."""

_MAX_CONNECTIONS: Final = 16
_MAX_SERVERS: Final = 100_000
_PATIENCE_S: Final = 10.0  # with a client that was stopped in the middle
_PAUSE_S: Final = 1.0

Answer = Callable[[Mapping[str, Any]], Iterable[Any]]
"""What is asked → the items of the answer."""

ERRORS: Final[Mapping[str, type[Exception]]] = {
    "invalid_event": InvalidEvent,
    "journal_full": JournalFull,
    "journal_down": JournalDown,
    "unknown": LookupError,
    "bad_request": ValueError,
}
"""What an answer may say instead of an end, and the exception that it stands for on both sides."""


class ControlServer:
    """Answers on a socket of this process. Fork-safe: a child starts its own.

    One thread of the process waits for all its sockets (`eventmw.lifetimes.Caretaker`); each connection has one of its own.

    Args:
        data_dir: the folder in which commands look for live processes; made when it is not there.
        answer: what answers a request; called on several threads.
    """

    def __init__(self, data_dir: str | Path, answer: Answer) -> None:
        self._folder = folder_of(data_dir)
        self._answer = answer
        self._start_afresh()
        _servers.add(self)

    def _start_afresh(self) -> None:
        self._pid = 0
        self._path: Path | None = None
        self._listener: socket.socket | None = None
        self._open_sockets: set[socket.socket] = set()
        self._attended = 0
        self._closed = False
        self._said = False

    @property
    def path(self) -> Path | None:
        """The socket, once the thread has opened it."""
        return self._path

    def start(self) -> bool:
        """Start answering in this process, unless it does already. The thread opens the socket: no caller waits for it.

        Returns whether there is a thread; the system may refuse it, and may give one at the next call.
        """
        if self._pid == os.getpid():
            return True
        try:
            caretaker.do_soon(self._open)
        except RuntimeError as error:
            if not self._said:
                log.warning("`eventmw` commands cannot reach this process until it gets a thread for them: %s", error)
            self._said = True
            return False
        self._pid = os.getpid()
        return True

    def close(self) -> None:
        """Stop answering, and take the socket away."""
        self._closed = True
        if self._pid == os.getpid():
            caretaker.call(self._shut)

    def after_fork(self) -> None:
        """Close what a child inherited, so that connections find the parent and no other process."""
        for inherited in self._open_sockets:
            inherited.close()
        self._start_afresh()

    def _open(self) -> None:
        if self._listener is not None or self._closed:
            return
        try:
            listener = self._listening()
        except OSError as error:
            log.warning(
                "`eventmw` commands cannot reach this process, which goes on without: no socket in %s: %s",
                self._folder,
                error.strerror or error,
            )
            return
        self._listener = listener
        caretaker.watch(listener, self._accept)

    def _shut(self) -> None:
        listener, self._listener = self._listener, None
        path, self._path = self._path, None
        if listener is not None:
            caretaker.unwatch(listener)
            self._drop(listener)
        if path is not None:
            _taken.discard(path)
            path.unlink(missing_ok=True)

    def _listening(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._open_sockets.add(listener)
        try:
            prepare(self._folder)
            path = self._bind(listener)
            listener.listen(_MAX_CONNECTIONS)
            listener.setblocking(False)
        except OSError:
            self._drop(listener)
            raise
        self._path = path
        return listener

    def _bind(self, listener: socket.socket) -> Path:
        """Take the first free name: a process may hold several sites, and containers may share a folder and their ids.

        One thread of the process does this for all its sites. Before a socket is listened on, another would take it for that
        of a dead process.
        """
        for number in range(_MAX_SERVERS):
            path = self._folder / (f"{os.getpid()}-{number}{SUFFIX}" if number else f"{os.getpid()}{SUFFIX}")
            if path in _taken:
                continue
            if path.exists() and not is_answered(path):
                path.unlink(missing_ok=True)
            try:
                with short(self._folder) as folder:
                    listener.bind(f"{folder}/{path.name}")
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            _taken.add(path)
            return path
        raise OSError(errno.EADDRINUSE, f"all {_MAX_SERVERS} names for this process are taken")

    def _accept(self) -> None:
        if (listener := self._listener) is None:
            return
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return  # the client left, or another process answered it
        except OSError:
            time.sleep(_PAUSE_S)  # the site may be out of descriptors
            return
        connection.setblocking(True)
        self._open_sockets.add(connection)
        self._attended += 1
        if self._attended >= _MAX_CONNECTIONS:
            caretaker.pause(listener)  # past that many, commands wait their turn
        self._hand_over(connection)

    def _hand_over(self, connection: socket.socket) -> None:
        try:
            threading.Thread(target=self._attend, args=(connection,), name=THREAD_NAME, daemon=True).start()
        except RuntimeError:  # the system gives no more threads, or the interpreter is ending
            self._drop(connection)
            self._left()

    def _leave(self, connection: socket.socket) -> None:
        self._drop(connection)
        caretaker.note(self._left)

    def _left(self) -> None:
        self._attended -= 1
        if self._listener is not None and self._attended == _MAX_CONNECTIONS - 1:
            caretaker.watch(self._listener, self._accept)

    def _attend(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(_PATIENCE_S)
            with connection.makefile("rb") as lines:
                request = lines.readline(MAX_REQUEST_BYTES)
            for line in self._lines(request) if request else ():
                connection.sendall(line)
        except OSError:
            log.debug("a command left before its answer was over")
        finally:
            self._leave(connection)

    def _drop(self, connection: socket.socket) -> None:
        self._open_sockets.discard(connection)
        connection.close()

    def _lines(self, request: bytes) -> Iterator[bytes]:
        try:
            for item in self._answer(json.loads(request)):
                yield encode({"item": item}) + b"\n"
            yield b'{"end":true}\n'
        except Exception as error:  # noqa: BLE001 - it is told to the command, and never to the site
            yield encode(_told(error)) + b"\n"


def _told(error: Exception) -> dict[str, str]:
    kind = next((kind for kind, known in ERRORS.items() if isinstance(error, known)), None)
    if kind is None or isinstance(error, KeyError | IndexError):
        log.error("a command failed inside eventmw", exc_info=error)
        return {"error": "internal", "message": f"it failed with {type(error).__name__}; its log tells more"}
    return {"error": kind, "message": str(error)}


_taken: Final[set[Path]] = set()
"""The sockets of this process."""

_servers: Final[WeakSet[ControlServer]] = WeakSet()


def _after_fork_in_child() -> None:
    _taken.clear()
    for server in list(_servers):
        server.after_fork()


after_fork_in_child(_after_fork_in_child)
