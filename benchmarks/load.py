"""A closed-loop load: wrk where it is installed, else a client of ours, each in a process of its own.

Both post the bodies of a file in turn over some connections and count every answer that is not 200 or not as long as the
answer has to be. ``python -m benchmarks.load PATH PORT CONNECTIONS SECONDS FILE LENGTH [HEADER …]`` is our client.

A line of the file is a body. With names of headers, their values stand before it, with a tab behind each.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import ROOT, pinned

PATH: Final = "/zaraz/api"
CLIENT_CORE: Final = 1


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the client saw. ``wrong`` counts answers that were not 200 and whole, and broken connections."""

    requests: int
    seconds: float
    wrong: int
    p50_ms: float
    p99_ms: float


def client() -> str:
    """Return the name of the client that `run` uses."""
    return "wrk" if shutil.which("wrk") else "our own asyncio client (wrk is not installed)"


def run(
    port: int,
    bodies: Path,
    *,
    length: int,
    connections: int,
    seconds: float,
    path: str = PATH,
    headers: Sequence[str] = (),
) -> Load:
    """Load a server of this machine; `headers` are the names of those whose values stand before each body.

    Raises:
        RuntimeError: the client failed, or an answer was wrong: figures of a server that refuses are worth nothing.
    """
    if wrk := shutil.which("wrk"):
        url = f"http://127.0.0.1:{port}{path}"
        command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
        command += ["-s", str(ROOT / "benchmarks" / "wrk.lua"), url, "--", str(bodies), str(length), *headers]
    else:
        command = [
            sys.executable,
            "-m",
            "benchmarks.load",
            path,
            *map(str, (port, connections, seconds, bodies, length)),
            *headers,
        ]
    with pinned(CLIENT_CORE):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + 60, check=False)
    if done.returncode:
        raise RuntimeError(f"the client failed: {done.stderr or done.stdout}")
    load = Load(**json.loads(done.stdout.strip().rpartition("\n")[2]))
    if load.wrong or not load.requests:
        raise RuntimeError(f"{load.wrong} of {load.requests} answers were not 200 and whole")
    return load


def post(port: int, body: bytes, path: str = PATH, headers: Mapping[str, str] | None = None) -> Any:
    """Post one body and return the decoded answer and its length in bytes.

    Raises:
        RuntimeError: the answer is not 200.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, body, {"content-type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        data = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"the answer is {answer.status}: {data[:500]!r}")
    return json.loads(data), len(data)


def get(port: int, path: str) -> bytes:
    """Return a page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


class _Client:
    """Our own client, as plain as can be: it trusts the server to send ``content-length`` or to end its chunks."""

    def __init__(self, requests: Iterator[bytes], length: int, until: float) -> None:
        self._requests = requests
        self._length = length
        self._until = until
        self.latencies: list[float] = []
        self.wrong = 0

    async def run(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (begun := time.monotonic()) < self._until:
            writer.write(next(self._requests))
            if not await self._is_right(reader):
                self.wrong += 1
            self.latencies.append(time.monotonic() - begun)
        writer.close()

    async def _is_right(self, reader: asyncio.StreamReader) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, _, after = head.partition(b"content-length:")
        if after:
            size = len(await reader.readexactly(int(after.split(b"\r\n")[0])))
        else:
            size = 0
            while chunk := int(await reader.readuntil(b"\r\n"), 16):
                size += chunk
                await reader.readexactly(chunk + 2)
            await reader.readexactly(2)
        return head.startswith(b"http/1.1 200") and size == self._length


def _request(path: str, line: bytes, headers: Sequence[str]) -> bytes:
    *values, body = line.split(b"\t", len(headers))
    fields = {"host": b"127.0.0.1", "content-type": b"application/json", **dict(zip(headers, values, strict=True))}
    head = b"".join(b"%b: %b\r\n" % (name.encode(), value) for name, value in fields.items())
    return b"POST %b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n%b" % (path.encode(), head, len(body), body)


async def _main(port: int, connections: int, seconds: float, requests: list[bytes], length: int) -> None:
    begun = time.monotonic()
    clients = [_Client(cycle(requests), length, begun + seconds) for _ in range(connections)]
    await asyncio.gather(*(one.run(port) for one in clients))
    took_s = time.monotonic() - begun
    latencies = sorted(latency for one in clients for latency in one.latencies)
    result = Load(
        requests=len(latencies),
        seconds=took_s,
        wrong=sum(one.wrong for one in clients),
        p50_ms=1000 * latencies[len(latencies) // 2],
        p99_ms=1000 * latencies[len(latencies) * 99 // 100],
    )
    print(json.dumps({name: getattr(result, name) for name in Load.__dataclass_fields__}))


if __name__ == "__main__":
    _path, _port, _connections, _seconds, _bodies, _length, *_headers = sys.argv[1:]
    _requests = [_request(_path, line, _headers) for line in Path(_bodies).read_bytes().splitlines()]
    asyncio.run(_main(int(_port), int(_connections), float(_seconds), _requests, int(_length)))
