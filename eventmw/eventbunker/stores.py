"""What the EventBunker API keeps beside the journal: the archive, the keys, and how many names each project has.

Layer: input and output.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from sqlalchemy import Engine

from eventmw.archive import note
from eventmw.archive.counting import NameCount
from eventmw.archive.database import let_go
from eventmw.archive.migrations import check
from eventmw.archive.place import archive_engine, file_of
from eventmw.archive.store import Archive
from eventmw.config import Config
from eventmw.journal.files.filesystem import access_warnings
from eventmw.keys.place import keys_engine
from eventmw.keys.ring import KeyRing
from eventmw.keys.store import KeyStore
from eventmw.query.run import Runner
from eventmw.secret import reveal

log = logging.getLogger("eventmw")


@dataclass(frozen=True)
class Stores:
    """The databases of one site. Nothing is asked of them before the first request.

    Attributes:
        archive: where tracked events become rows.
        ring: the keys, as this process knows them.
        names: how many names each project has, as this process knows it.
        keys: the engine behind the keys.
    """

    archive: Archive
    ring: KeyRing
    names: NameCount
    keys: Engine

    @classmethod
    def of(cls, config: Config) -> Self:
        """Return those that a configuration names.

        Raises:
            ConfigError: an address is none, a folder cannot be used, or a newer eventmw wrote what is there.
        """
        address = None if config.archive is None else reveal(config.archive)
        if config.journal == "memory":  # a journal in files says it
            for words in access_warnings(config.data_dir):
                log.warning("%s", words)
        engine = archive_engine(config.data_dir, address)
        check(engine)
        _note(config.data_dir, None if address is None else engine)
        archive, keys = Archive(engine), keys_engine(config.data_dir, address)
        return cls(archive, KeyRing(keys), NameCount(archive), keys)

    @cached_property
    def key_store(self) -> KeyStore:
        """What makes and revokes keys. Raises while the database does not answer."""
        return KeyStore(self.keys)

    @cached_property
    def runner(self) -> Runner:
        """What asks the archive."""
        return Runner(self.archive.engine, make=self.archive.open)

    def awake(self) -> None:
        """Have the keys read, without waiting for them."""
        self.ring.begin()

    def rest(self) -> None:
        """Give back threads and connections; the next request takes them again."""
        self.ring.rest()
        self.names.rest()
        self._let_go()

    def troubles(self) -> Mapping[str, str]:
        """Return ``{"archive": …, "keys": …}``: "" while a store is sound, else what is wrong, in words without a path.

        Of an archive that is away, and is not damaged, nothing is said: events are kept meanwhile.
        """
        return {"archive": self.archive.trouble or self._damage(), "keys": self.ring.trouble()}

    def _damage(self) -> str:
        """Return what can be seen to be wrong with the archive's file; one that was not made yet is sound."""
        file = file_of(self.archive.engine)
        damage = "" if file is None else note.damage_of(file)
        if damage in {"is gone", "is empty"} and self.archive.stamp is None:
            return ""
        return f"the archive {damage}" if damage else ""

    def close(self) -> None:
        """Follow the databases no longer, and let go of their connections."""
        self.ring.close()
        self.names.close()
        self._let_go()

    def _let_go(self) -> None:
        let_go(self.keys)
        let_go(self.archive.engine)


def _note(data_dir: str, engine: Engine | None) -> None:
    """Leave a note for commands, which else would look into a file of the data directory, or make one."""
    try:
        note.write(Path(data_dir).absolute(), note.Note(None) if engine is None else note.Note.of(engine.url))
    except OSError as error:
        words = "`eventmw` commands cannot see which archive this site uses: %s cannot be written: %s"
        log.warning(words, Path(data_dir).absolute() / note.FILE, error.strerror)
