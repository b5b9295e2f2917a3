"""``python -m eventmw`` is ``eventmw``.

Layer: people.
"""

from __future__ import annotations

from eventmw.cli import main

if __name__ == "__main__":
    main(prog_name="eventmw")
