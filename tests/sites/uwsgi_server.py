"""uWSGI as a module: ``python -m tests.sites.uwsgi_server OPTION…``, from the wheel ``pyuwsgi``."""

from __future__ import annotations

import sys

import pyuwsgi

if __name__ == "__main__":
    # It is told the virtual environment, since it looks for modules beside the program that it takes itself for.
    pyuwsgi.run([f"--home={sys.prefix}", "--die-on-term", "--master", "--disable-logging", *sys.argv[1:]])
