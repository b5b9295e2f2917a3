"""The version of this package, for whoever asks without importing the rest.

Layer: vocabulary (standard library only).
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
