"""A steady load of numbered events over one connection: each request leaves after the answer to the one before, so that
order is promised; one that is due while another is under way leaves late, and catches up.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from contextlib import closing
from types import TracebackType
from typing import Final, Self

import msgspec

from benchmarks.load import PATH
from benchmarks.records import numbered

_HEADERS: Final = {"content-type": "application/json"}


class Steady:
    """A thread that posts `rate_per_s` events a second, `batch` in a request, until it is left.

    Attributes:
        accepted: events that were answered 200, counted from 0; the next one has this number.
        answers: status → how many.
        failure: what ended it early.
    """

    def __init__(self, port: int, rate_per_s: float, batch: int) -> None:
        self.accepted = 0
        self.answers: Counter[int] = Counter()
        self.failure: BaseException | None = None
        self._port = port
        self._every_s = batch / rate_per_s
        self._batch = batch
        self._chance = random.Random(1)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work, name="steady load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Stop it, and return how many events were accepted.

        Raises:
            RuntimeError: it had failed.
        """
        self._done.set()
        self._thread.join(30)
        if self.failure is not None:
            raise RuntimeError(f"the steady load failed: {self.failure!r}")
        return self.accepted

    def _work(self) -> None:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
                due = time.monotonic()
                while not self._done.is_set():
                    self._post(connection)
                    due += self._every_s
                    time.sleep(max(0.0, due - time.monotonic()))
        except BaseException as error:
            self.failure = error

    def _post(self, connection: http.client.HTTPConnection) -> None:
        connection.request("POST", PATH, self._body(), _HEADERS)
        answer = connection.getresponse()
        answer.read()
        self.answers[answer.status] += 1
        if answer.status == 200:
            self.accepted += self._batch

    def _body(self) -> bytes:
        return msgspec.json.encode(
            {"events": [numbered(self._chance, self.accepted + at) for at in range(self._batch)]}
        )
