"""What all tests share: no setting leaks in from the environment of whoever runs them.

Tests that do not care keep events in memory, which costs them no disk; those of the file journal ask for it.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

from eventmw import secret
from tests.postgres import postgres, postgres_server

# The same examples in every run, and nothing timed. To look for more: pytest --hypothesis-profile=search
settings.register_profile("eventmw", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=20)
settings.load_profile("eventmw")

# What starts servers, commands or browsers, kills processes, or looks at thousands of examples. `-m "not slow"` leaves the
# part that runs in minutes, under each version of Python.
SLOW = frozenset(
    {
        "test_archive_crash",
        "test_archive_filler",
        "test_archive_refill",
        "test_benchmarks",
        "test_benchmarks_outage",
        "test_charts_browser",
        "test_cli_archives",
        "test_cli_check",
        "test_cli_dead",
        "test_cli_erase",
        "test_cli_keys",
        "test_cli_main",
        "test_cli_output",
        "test_cli_query",
        "test_cli_query_link",
        "test_cli_replay",
        "test_cli_send",
        "test_cli_stats",
        "test_cli_tail",
        "test_cli_tools",
        "test_cli_worker",
        "test_contract_eventbunker",
        "test_contract_eventbunker_served",
        "test_crash",
        "test_crash_audit",
        "test_crash_power",
        "test_data_dir_damage",
        "test_database_silence",
        "test_demo",
        "test_docs_testing",
        "test_eventbunker_delete",
        "test_eventbunker_delete_beside",
        "test_examples",
        "test_frameworks",
        "test_green",
        "test_journal_files_damage",
        "test_journal_files_faults",
        "test_journal_files_many",
        "test_journal_files_processes",
        "test_journal_model",
        "test_judge",
        "test_keys_ring",
        "test_keys_store",
        "test_openapi_contract",
        "test_pytest_plugin",
        "test_query_answers",
        "test_query_compile",
        "test_readme",
        "test_servers",
        "test_strangers",
        "test_strategies",
        "test_tools_custom_html_browser",
        "test_tools_ga4",
        "test_track_django",
        "test_typing",
        "test_worker_models",
    }
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Take the tests themselves out of what garbage collections look at: they are most of what there is."""
    gc.collect()
    gc.freeze()


__all__ = ["postgres", "postgres_server"]  # fixtures


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret._known.clear()
    for name in [name for name in os.environ if name.startswith("EVENTMW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EVENTMW_JOURNAL", "memory")
    monkeypatch.setenv("EVENTMW_DATA_DIR", str(tmp_path / "eventmw-data"))
