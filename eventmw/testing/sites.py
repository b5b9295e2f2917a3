"""A wrapped site with other parts: recorded deliveries, a still clock, fixed keys. All of it works at any time, or raises.

Layer: gateways. `eventmw.testing.captured` needs none of it: it gives each site all of that at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from eventmw.keys import Key
from eventmw.site import Site, serve_with
from eventmw.testing.parts import FixedKeys, FrozenClock, RecordingTransport
from eventmw.testing.runtime import CapturedRuntime


def with_keys(app: Site, keys: Mapping[str, Key]) -> FixedKeys:
    """Give a wrapped site these keys of the EventBunker API, and no others, from the next request on.

    Raises:
        RuntimeError: the site is closed, or has no `eventbunker_path`, so no key is ever looked up.
    """
    runtime = app.runtime
    if runtime.is_closed:
        raise RuntimeError("this site is closed, so it looks no key up any more: wrap the site anew")
    if app.config.eventbunker_path is None:
        raise RuntimeError("this site has no eventbunker_path, so it never looks a key of the EventBunker API up")
    fixed = runtime.keys = FixedKeys(keys)
    return fixed


def freeze(app: Site, clock: FrozenClock | None = None) -> FrozenClock:
    """Give a wrapped site a still clock, from the next request on.

    Returns the clock, which also measures the courier's back-off: `FrozenClock.advance` lets a retry become due.

    Raises:
        RuntimeError: the site is closed, or is captured and so has a still clock: ``events.clock``.
    """
    frozen = FrozenClock() if clock is None else clock
    app.runtime.refit(clock=frozen)
    serve_with(app, app.runtime)  # the calls of the EventBunker API hold the clock that they were made with
    return frozen


def record(app: Site, transport: RecordingTransport | None = None) -> RecordingTransport:
    """Record a wrapped site's deliveries instead of sending them, from now on; also of events that wait already.

    A second call replaces the transport of the first.

    Raises:
        RuntimeError: the site is closed; or is captured, and records in ``events.requests()``; or another site or process
            delivers what its `data_dir` holds, so nothing would come to the transport.
    """
    recording = RecordingTransport() if transport is None else transport
    app.runtime.refit(transport=lambda: recording)
    return recording


def deliver(app: Site, timeout_s: float = 10.0) -> None:
    """Wait until every tool of a wrapped site has nothing left that can be delivered now.

    Raises:
        RuntimeError: the site is closed.
        TimeoutError: something was left after `timeout_s` seconds, such as events of a vendor that refuses everything.
    """
    runtime = app.runtime
    if isinstance(runtime, CapturedRuntime):
        runtime.events.deliver()
        return
    if runtime.is_closed:
        raise RuntimeError("this site is closed, so nothing of it is delivered any more: wrap the site anew")
    if not runtime.engine.tools:
        return
    runtime.start()
    runtime.courier.start()  # also where courier="off" leaves it to a worker
    if not runtime.courier.drain(timeout_s):
        left = {tool: numbers["backlog_events"] for tool, numbers in app.stats()["tools"].items()}
        raise TimeoutError(f"not everything was delivered within {timeout_s:g} s; events left for each tool: {left}")
