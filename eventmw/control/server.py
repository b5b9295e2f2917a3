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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from eventmw.control.sockets import SUFFIX, connected, folder_of, is_answered, prepare, short
from eventmw.errors import InvalidEvent, JournalDown, JournalFull
from eventmw.jsontext import encode

log = logging.getLogger("eventmw.control.server")

THREAD_NAME: Final = "eventmw-control"
MAX_REQUEST_BYTES: Final = 8 * 1024 * 1024
"""A payload is a mebibyte at most by default, and JSON inside JSON grows."""

_MAX_CONNECTIONS: Final = 16
_MAX_SERVERS: Final = 100
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
    """Answers on this process's socket, with one thread for each connection. Fork-safe: a child starts its own.

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
        self._open_sockets: set[socket.socket] = set()
        self._free = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self._closed = threading.Event()
        self._said = False

    @property
    def path(self) -> Path | None:
        """The socket, once the thread has opened it."""
        return self._path

    def start(self) -> bool:
        """Start answering in this process, unless it does already. The thread opens the socket: no caller waits for it.

        Returns whether there is a thread; the system may refuse it, and may give one at the next call.
        """
        with _names.lock:
            if self._pid == os.getpid():
                return True
            try:
                threading.Thread(target=self._live, args=(self._closed,), name=THREAD_NAME, daemon=True).start()
            except RuntimeError as error:
                if not self._said:
                    log.warning(
                        "`eventmw` commands cannot reach this process until it gets a thread for them: %s", error
                    )
                self._said = True
                return False
            self._pid = os.getpid()
            return True

    def close(self) -> None:
        """Stop answering; the thread takes the socket away."""
        self._closed.set()
        if self._path is not None and self._pid == os.getpid():
            with suppress(OSError), connected(self._path, _PAUSE_S):
                pass  # the thread that waits for a connection gets this one, and sees that it was the last

    def after_fork(self) -> None:
        """Close what a child inherited, so that connections find the parent and nobody else."""
        for inherited in self._open_sockets:
            inherited.close()
        self._start_afresh()

    def _live(self, closed: threading.Event) -> None:
        try:
            listener = self._open()
        except OSError as error:
            log.warning(
                "`eventmw` commands cannot reach this process, which goes on without: no socket in %s: %s",
                self._folder,
                error.strerror or error,
            )
            return
        try:
            self._listen(listener, closed)
        finally:
            self._drop(listener)
            if self._path is not None:
                self._path.unlink(missing_ok=True)

    def _open(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._open_sockets.add(listener)
        try:
            prepare(self._folder)
            with _names.lock:
                self._path = self._bind(listener)
                listener.listen(_MAX_CONNECTIONS)
        except OSError:
            self._drop(listener)
            raise
        return listener

    def _bind(self, listener: socket.socket) -> Path:
        """Take the first free name: a process may hold several sites, and containers may share a folder and their ids."""
        for number in range(_MAX_SERVERS):
            path = self._folder / (f"{self._pid}-{number}{SUFFIX}" if number else f"{self._pid}{SUFFIX}")
            if path.exists() and not is_answered(path):
                path.unlink(missing_ok=True)
            try:
                with short(self._folder) as folder:
                    listener.bind(f"{folder}/{path.name}")
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            return path
        raise OSError(errno.EADDRINUSE, f"all {_MAX_SERVERS} names for this process are taken")

    def _listen(self, listener: socket.socket, closed: threading.Event) -> None:
        while not closed.is_set():
            self._free.acquire()  # past that many, commands wait their turn
            connection = self._accepted(listener, closed)
            if connection is None:
                self._free.release()
            else:
                self._hand_over(connection)

    def _accepted(self, listener: socket.socket, closed: threading.Event) -> socket.socket | None:
        try:
            connection, _ = listener.accept()
        except OSError:
            closed.wait(_PAUSE_S)  # the site may be out of descriptors
            return None
        if closed.is_set():
            connection.close()
            return None
        self._open_sockets.add(connection)
        return connection

    def _hand_over(self, connection: socket.socket) -> None:
        try:
            threading.Thread(target=self._attend, args=(connection,), name=THREAD_NAME, daemon=True).start()
        except RuntimeError:  # the system gives no more threads, or the interpreter is ending
            self._drop(connection)
            self._free.release()

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
            self._drop(connection)
            self._free.release()

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


class _Names:
    """One server at a time takes its name: before it listens, another would take its socket for that of a dead process."""

    lock = threading.Lock()


_names: Final = _Names()
_servers: Final[WeakSet[ControlServer]] = WeakSet()


def _after_fork_in_child() -> None:
    _names.lock = threading.Lock()
    for server in _servers:
        server.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
