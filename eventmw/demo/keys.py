"""A key with which the demo sends to the track API of a site, made as ``eventmw project create`` and ``keys create`` do.

Layer: input and output.
"""

from __future__ import annotations

from pathlib import Path

from eventmw.config import DEFAULT_DATA_DIR
from eventmw.keys.grants import Grant
from eventmw.keys.place import keys_engine
from eventmw.keys.store import KeyStore
from eventmw.secret import Secret


def write_key(folder: Path) -> Secret:
    """Make a project and a write key for the site that will run in a folder, and return its secret."""
    engine = keys_engine(folder / DEFAULT_DATA_DIR, None)
    try:
        store = KeyStore(engine)
        made, _ = store.create_project(store.account(), "demo")
        return store.create_key(made.id, Grant(kind="write")).secret
    finally:
        engine.dispose()
