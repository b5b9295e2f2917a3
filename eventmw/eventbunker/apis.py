"""Every API below `eventbunker_path`: tracking, and each call.

Layer: input and output on the runtime only.
"""

from __future__ import annotations

from collections.abc import Sequence

from eventmw.eventbunker import Call, charts, delete, manage, query, track
from eventmw.eventbunker.calling import CallApi
from eventmw.eventbunker.charts import ChartCall
from eventmw.eventbunker.delete import DeleteCall
from eventmw.eventbunker.manage import manage_calls
from eventmw.eventbunker.query import QueryJson
from eventmw.eventbunker.track import TrackApi
from eventmw.openapi.operation import Operation
from eventmw.runtime import Runtime


def operations() -> Sequence[Operation]:
    """Return what these APIs say of themselves, in the order of the document; their paths are below `eventbunker_path`.

    A call that is not here has no place in the OpenAPI document, which a test holds against the calls of a site.
    """
    return (track.OPERATION, query.OPERATION, *charts.OPERATIONS, delete.OPERATION, *manage.OPERATIONS)


def calls_of(runtime: Runtime) -> tuple[Call, ...]:
    """Return the calls of a site, each with a path of its own."""
    stores = runtime.stores
    if stores is None:
        return ()

    return (
        *manage_calls(lambda: stores.key_store, stores.ring.look),
        QueryJson(stores.runner, runtime.clock.now_ms),
        ChartCall(
            stores.runner,
            stores.ring,
            runtime.clock.now_ms,
            runtime.config.frame_ancestors,
            stores.runner.in_time,
        ),
        DeleteCall(runtime.journal, stores.archive, runtime.clock.now_ms),
    )


def apis_of(runtime: Runtime) -> tuple[TrackApi | CallApi, ...]:
    """Return the APIs of a site with `eventbunker_path` set, each with a path of its own.

    Raises:
        ConfigError: something that one of them needs cannot be used, such as the file `geoip`.
    """
    return (TrackApi(runtime), *(CallApi(runtime, call) for call in calls_of(runtime)))
