"""A site whose threads are greenlets: ``python -m tests.sites.green HOW JOURNAL EVENTBUNKER FOLDER GREENLETS``.

HOW says when they are replaced: ``gevent`` and ``eventlet`` do it first, as their documentation asks; ``gevent-late`` after
the site was made, which is what ``gunicorn -k gevent --preload`` does. Requests come from several greenlets at once. A lock
that is held while another greenlet runs ends this process with a traceback of where it stands.
"""

from __future__ import annotations

import faulthandler
import io
import json
import sys
from pathlib import Path
from typing import Any

PATIENCE_S = 60

faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
how, journal, eventbunker, folder, greenlets = sys.argv[1:]
GREENLETS = int(greenlets)
if how == "gevent":
    from gevent import monkey

    monkey.patch_all()
elif how == "eventlet":
    import contextlib

    import eventlet

    with contextlib.redirect_stderr(io.StringIO()):  # as in `tests.sites.eventlet_server`
        eventlet.monkey_patch()

from eventmw import EventsMiddleware, consumer  # noqa: E402
from eventmw.tools import File  # noqa: E402

called: list[str] = []


@consumer("crm")
def crm(event: Any) -> None:
    time.sleep(0.001)
    called.append(event.id)


def view(environ: Any, start_response: Any) -> list[bytes]:
    if environ["PATH_INFO"] == "/async":  # the site's own loop, in the thread in which the courier's runs
        asyncio.run(asyncio.sleep(0.05))
    start_response("200 OK", [])
    return [b"the site"]


out = Path(folder, "out.jsonl")
app: Any = EventsMiddleware(
    view,
    path="/e",
    tools=[File(str(out))],
    consumers=[crm],
    journal=journal,
    data_dir=str(Path(folder, "data")),
    eventbunker_path="/eb" if eventbunker == "on" else None,
)
if how == "gevent-late":
    from gevent import monkey

    monkey.patch_all()

import asyncio  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402


def ask(path: str, body: bytes = b"", **fields: str) -> int:
    answered: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST" if body else "GET",
        "PATH_INFO": path,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        "REMOTE_ADDR": "127.0.0.1",
        **fields,
    }
    b"".join(app(environ, lambda status, *_: answered.append(status)))
    return int(answered[0][:3])


def visit(number: int) -> None:
    statuses.append(ask("/page"))
    if eventbunker == "on":
        refused.append(ask("/eb/post", b'{"event_name": "x"}', HTTP_X_EVENTBUNKER_WRITE_KEY="none"))
    statuses.append(ask("/e", json.dumps({"events": [{"client": {"n": number}}]}).encode()))
    app.track("own", {"n": number})


statuses: list[int] = []
refused: list[int] = []
visits = [threading.Thread(target=visit, args=(number,)) for number in range(GREENLETS)]
for one in visits:
    one.start()
for one in visits:
    one.join()
until_s = time.monotonic() + PATIENCE_S
while len(set(called)) < 2 * GREENLETS and time.monotonic() < until_s:
    time.sleep(0.01)
statuses.append(ask("/async"))
drained = app.close(20)
print(json.dumps({
    "statuses": sorted(set(statuses)),
    "refused": sorted(set(refused)),
    "drained": drained,
    "delivered": len(out.read_text().splitlines()),
    "called": len(set(called)),
    "threads": sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("eventmw")),
}))  # fmt: skip
