"""What the bare sites of the servers' tests show; the same on ASGI and WSGI."""

from __future__ import annotations

import hashlib
import os

from eventmw import Limits
from eventmw.config import Settings

PATH = "/zaraz/api"
FRONT = ("<!doctype html><title>Site</title><p>Grüße " + "x" * 3000).encode()
HTML = "text/html; charset=utf-8"
PIECES = [f"piece {number}\n".encode() for number in range(3)]
LIMITS = Limits(max_body_bytes=64 * 1024, body_timeout_s=1.0)
WRAPPED = os.environ.get("WRAP") == "1"
SETTINGS: Settings = {"path": PATH, "limits": LIMITS}


def echo(size: int, digest: hashlib._Hash) -> bytes:
    return f"{size} {digest.hexdigest()}".encode()
