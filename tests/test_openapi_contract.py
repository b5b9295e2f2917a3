"""Both gateways, served by real servers, answer as the OpenAPI document says; see `tests.contract_fuzz` for the campaign."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventmw.eventbunker import apis
from tests.contract_fuzz import SERVERS, SUITE_EXAMPLES, fuzz


@pytest.mark.timeout(300)  # half a minute, unless the machine has other things to do
@pytest.mark.parametrize("server", SERVERS)
def test_answers_are_as_the_document_says(server: str, tmp_path: Path) -> None:
    found = fuzz(server, tmp_path, f"--max-examples={SUITE_EXAMPLES}")
    assert found.code == 0, found.printed
    total = len(apis.operations()) + 1
    assert f"{total} selected / {total} total" in found.printed
    assert found.errors == []
