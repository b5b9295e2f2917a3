"""What the sites with every API share: the data directory that the environment names, and limits that no test reaches."""

from __future__ import annotations

import os

from eventmw.config import Settings

PATH = "/zaraz/api"
EVENTBUNKER = "/eb"
SITE_KEY = "0123456789abcdef-of-the-site"


def settings() -> Settings:
    return {
        "path": PATH,
        "eventbunker_path": EVENTBUNKER,
        "keys": {"shop": SITE_KEY},
        "data_dir": os.environ["DATA_DIR"],
        "journal": "file",
    }
