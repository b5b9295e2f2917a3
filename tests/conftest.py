"""What all tests share: no setting leaks in from the environment of whoever runs them."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# The same examples in every run, and nothing timed. To look for more: pytest --hypothesis-profile=search
settings.register_profile("eventmw", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("eventmw")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EVENTMW_")]:
        monkeypatch.delenv(name)
