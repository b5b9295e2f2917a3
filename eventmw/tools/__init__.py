"""The tools that come with eventmw, one destination a file. A tool is a frozen dataclass whose fields are its settings.

Layer: pure rules. Tools never import each other; what two of them need stands in a module above this folder.
To add one, add a file and a line here; see docs/tools.md.
"""

from __future__ import annotations

from eventmw.tools.console import Console
from eventmw.tools.custom_html import CustomHTML
from eventmw.tools.custom_image import CustomImage
from eventmw.tools.file import File
from eventmw.tools.ga4 import GA4
from eventmw.tools.webhook import Webhook

__all__ = ["GA4", "Console", "CustomHTML", "CustomImage", "File", "Webhook"]
