"""What all tests share: no setting leaks in from the environment of whoever runs them.

Tests that do not care keep events in memory, which costs them no disk; those of the file journal ask for it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.postgres import postgres, postgres_server

# The same examples in every run, and nothing timed. To look for more: pytest --hypothesis-profile=search
settings.register_profile("eventmw", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("eventmw")

__all__ = ["postgres", "postgres_server"]  # fixtures


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("EVENTMW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EVENTMW_JOURNAL", "memory")
    monkeypatch.setenv("EVENTMW_DATA_DIR", str(tmp_path / "eventmw-data"))
