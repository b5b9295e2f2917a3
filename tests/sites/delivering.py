"""What the delivering sites share: one tool, whose vendor and data directory the environment names."""

from __future__ import annotations

import os

from eventmw import Delivery
from eventmw.config import Settings
from eventmw.tools import Webhook

PATH = "/zaraz/api"
BATCH, WINDOW = 8, 2
IN_FLIGHT = BATCH * WINDOW
"""Events that can be on their way to the vendor at a time, from one leader."""


def settings() -> Settings:
    tool = Webhook(os.environ["VENDOR"], id="hook", batch=BATCH, delivery=Delivery(window=WINDOW))
    return {"path": PATH, "tools": [tool], "data_dir": os.environ["DATA_DIR"], "journal": "file"}
