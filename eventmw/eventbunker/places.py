"""Where an address is, by a file in MaxMind's format. The only importer of maxminddb.

Layer: input and output. Source: the MaxMind DB file format 2.0; the shape of the GeoIP2 and GeoLite2 databases, which others
follow. What a database does not have is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, cast

from eventmw.errors import ConfigError

log = logging.getLogger("eventmw")

_CODES: Final = {
    "continent": ("continent", "code"),
    "country": ("country", "iso_code"),
    "time_zone": ("location", "time_zone"),
}
"""Generated field without its `_` → where a City or Country database has it."""


class Places:
    """One database, opened once and shared by forked processes. Thread-safe.

    Args:
        path: the file.

    Raises:
        ConfigError: it cannot be read, is of another format, or the package is missing.
    """

    def __init__(self, path: str) -> None:
        try:
            import maxminddb  # noqa: PLC0415 - of an extra

            self._database: Any = cast(Any, maxminddb).open_database(path)
        except ImportError:
            raise ConfigError(["geoip needs the maxminddb package: pip install 'eventmw[eventbunker]'"]) from None
        except OSError as error:
            raise ConfigError([f"geoip: {path} cannot be read: {error.strerror or type(error).__name__}"]) from None
        except Exception as error:
            words = f"geoip: {path} is not a file in MaxMind's format (.mmdb): {type(error).__name__}"
            raise ConfigError([words]) from error

    def of(self, ip: str) -> dict[str, str]:
        """Return ``continent``, ``country`` (codes), ``region``, ``city`` (English names) and ``time_zone``, if known.

        Never raises: an event is not lost for a damaged database.
        """
        try:
            found: Any = self._database.get(ip)
        except Exception as error:  # noqa: BLE001 - as said above
            log.warning("the geoip file failed at an address: %s", type(error).__name__)
            return {}
        place: dict[str, object] = {name: _at(found, *path) for name, path in _CODES.items()}
        place["region"] = _at(found, "subdivisions", 0, "names", "en")
        place["city"] = _at(found, "city", "names", "en")
        return {name: value for name, value in place.items() if isinstance(value, str) and value}


def problems_of(path: str) -> tuple[str, ...]:
    """Return what is wrong with a file, as `Places` would raise it; nothing of one that can be used."""
    try:
        Places(path)
    except ConfigError as error:
        return error.problems
    return ()


def _at(value: object, *path: str | int) -> object:
    for step in path:
        if isinstance(value, Mapping):
            value = cast(Mapping[object, object], value).get(step)
        elif isinstance(value, list) and isinstance(step, int):
            items = cast(list[object], value)
            value = items[step] if step < len(items) else None
        else:
            return None
    return value
