"""The file journal: the suite of every journal, then what only this one promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventmw.journal import Journal
from eventmw.journal.files import FileJournal
from tests.journal_conformance import ROOMY, JournalConformance, MakeJournal, without


class TestFileJournal(JournalConformance):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Iterator[MakeJournal]:
        made: list[FileJournal] = []

        def make(*, cap_bytes: int = ROOMY) -> Journal:
            made.append(FileJournal(tmp_path / f"data-{len(made)}", cap_bytes=cap_bytes, rewrite=without))
            return made[-1]

        yield make
        for journal in made:
            journal.leave()
