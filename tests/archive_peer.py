"""A process that fills an archive until somebody ends it: ``python -m tests.archive_peer DATA_DIR ADDRESS``."""

from __future__ import annotations

import sys
import threading

from eventmw.archive import ARCHIVE
from eventmw.archive.database import engine_of
from eventmw.archive.filler import Filler
from eventmw.archive.store import Archive
from eventmw.clock import SystemClock
from eventmw.delivery.courier import Courier
from eventmw.erasure import rewrite
from eventmw.journal.files import FileJournal
from eventmw.testing import RecordingTransport
from tests.archiving import engine


def main(data_dir: str, address: str) -> None:
    journal = FileJournal(data_dir, cap_bytes=64 * 1024 * 1024, rewrite=rewrite)
    journal.register([ARCHIVE])
    filler = Filler(Archive(engine_of(address)), lasting=True)
    Courier(journal, engine(), RecordingTransport, SystemClock(), polite=False, jobs=[filler]).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
