"""Worker models: whatever was acknowledged arrives, however the server's processes come and go. See docs/workers.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sites.delivering import IN_FLIGHT
from tests.worker_models import LEAST, MODELS, STOP_S, measure


@pytest.mark.parametrize("name", MODELS)
def test_what_was_acknowledged_is_delivered(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    model = MODELS[name]
    found = measure(model, tmp_path)
    for figure, value in found._asdict().items():
        record_property(figure, value)
    assert not found.errors, "\n".join(found.errors)
    assert found.acknowledged >= LEAST
    assert found.leader != "nobody"
    assert (found.lost, found.phantom, found.changed) == (0, 0, 0)
    assert found.repeated <= (0 if model.orderly else model.processes * IN_FLIGHT)
    assert found.stop_s < STOP_S
