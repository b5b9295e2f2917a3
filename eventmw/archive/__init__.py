"""The archive: every tracked event as a row, for questions. Filled from the journal by its own cursor.

Layer: vocabulary; what fills and keeps it stands beside it, and needs the libraries of an extra.
"""

from __future__ import annotations

from typing import Final

ARCHIVE: Final = "archive"
"""The archive's id among the journal's tools."""
