"""What ``eventmw check`` says of a configuration beyond valid or not: missing secrets, risky choices, masked settings.

Layer: people. It looks at which folders exist, and writes nothing.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from eventmw.config import Config
from eventmw.contract import Delivery
from eventmw.errors import ConfigError
from eventmw.journal.files import filesystem
from eventmw.secret import EnvSecret, Secret, reveal, variables_of
from eventmw.settings import misspelt_variables
from eventmw.tools import File

MASK: Final = "••••"

GUESSABLE: Final = frozenset(
    {"/zaraz/api", "/events", "/event", "/track", "/collect", "/api/events", "/api/track", "/api/collect", "/e", "/t"}
)
"""Paths that a stranger would try first. Source: assumption; the first is the seed's own example."""

_MAX_SHOWN: Final = 80
_TELLING: Final = ("secret", "token", "key", "password")


def missing_secrets(config: Config) -> Iterator[str]:
    """Return a sentence for each environment variable that a tool needs and that is not set."""
    for tool in (*config.tools, *config.consumers):
        for setting, variable in variables_of(tool):
            if not variable.is_set():
                yield (
                    f"{type(tool).__name__}: {setting} is to come from the environment variable {variable.name}, "
                    "which is not set"
                )


def archive_of(config: Config) -> str:
    """Return where tracked events go, without a password.

    Raises:
        ConfigError: the address is none that works here.
    """
    from eventmw.archive.note import Note  # noqa: PLC0415 - of an extra
    from eventmw.archive.place import FILE, archive_engine  # noqa: PLC0415 - as above

    if config.archive is None:
        return f"{FILE} in data_dir"
    return str(Note.of(archive_engine(config.data_dir, reveal(config.archive)).url).address)


def unusable_places(config: Config) -> Iterator[str]:
    """Return a sentence for each file or database that a site would need and could not use at its start."""
    if config.eventbunker_path is not None:
        try:
            archive_of(config)
        except ConfigError as error:
            yield from error.problems
    if config.geoip is not None:
        from eventmw.eventbunker.places import problems_of  # noqa: PLC0415 - of an extra

        yield from problems_of(config.geoip)


def warnings(config: Config) -> Iterator[str]:
    """Return a sentence for each choice that is valid and may not be wanted."""
    if config.path is None and config.eventbunker_path is None:
        yield "no path is set, so nothing is answered; only the site's own track() sends events."
    if not config.tools and not config.consumers and (config.path is not None or config.eventbunker_path is None):
        which, but = "", ""
        if config.eventbunker_path is not None:
            which, but = f" of {config.path}", "; tracked ones go to the archive"
        yield f"there are no tools, so events{which} are accepted and go nowhere{but}."
    if config.dry_run:
        yield "dry_run is on: nothing is sent to any tool."
    yield from misspelt_variables(config)
    yield from journal_warnings(config.journal, config.data_dir)
    if config.path in GUESSABLE and not config.keys:
        yield (
            f"{config.path} is easy to guess and no keys are set: anybody can send events. Set keys, or choose another path."
        )
    for tool in config.tools:
        yield from _plain_http(tool)
        if isinstance(tool, File) and not os.path.isdir(folder := os.path.dirname(tool.path) or "."):  # noqa: PTH112, PTH120 - text or path
            yield f"File: there is no folder {folder}; make it before the start, or {tool.id} can write nothing."


def journal_warnings(journal: str, data_dir: str) -> Iterator[str]:
    """Return a sentence on what may be lost: a journal in memory, or one on a file system that promises too little."""
    if journal == "memory":
        yield 'journal = "memory": events that are not delivered yet are lost when the process ends or is restarted.'
    elif journal == "file" and (lies := filesystem.warning_for(data_dir)) is not None:
        yield lies
    yield from filesystem.access_warnings(data_dir)


def _plain_http(tool: object) -> Iterator[str]:
    for name, value in _fields(tool):
        if isinstance(value, str) and value.lower().startswith("http://"):
            host = urlsplit(value).hostname or ""
            if not _is_this_machine(host):
                kind = type(tool).__name__
                yield f"{kind}: {name} is plain http to {host}: whoever is on the way can read and change events."


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def settings_of(tool: object) -> dict[str, Any]:
    """Return a tool's settings that are not its defaults, secrets masked: name → text or JSON value."""
    return {name: _masked(tool, name, value) for name, value in _fields(tool) if _is_set(tool, name, value)}


def _fields(tool: object) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(tool):
        for spec in dataclasses.fields(tool):
            if spec.init:
                yield spec.name, getattr(tool, spec.name)


def _is_set(tool: object, name: str, value: object) -> bool:
    spec = _spec(tool, name)
    factory = spec.default_factory
    default = factory() if factory is not dataclasses.MISSING else spec.default
    return name not in {"id", "function"} and not (default is not dataclasses.MISSING and value == default)


def _masked(tool: object, name: str, value: object) -> Any:
    if isinstance(value, EnvSecret):
        return f"env({value.name})"
    if isinstance(value, str) and value.lower().startswith(("http://", "https://")):
        return _without_path(value)
    if isinstance(value, Secret) or not _spec(tool, name).repr or any(word in name.lower() for word in _TELLING):
        return MASK
    return _shown(value)


def _without_path(url: str) -> str:
    """Return where a URL leads to; the rest of one often is its secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f"/{MASK}" if parts.path.strip("/") or parts.query else "")


def _shown(value: object) -> Any:
    match value:
        case Delivery():
            standard = Delivery()
            changed = {spec.name: getattr(value, spec.name) for spec in dataclasses.fields(value)}
            return {name: setting for name, setting in changed.items() if setting != getattr(standard, name)}
        case None | bool() | int() | float():
            return value
        case _:
            text = value if isinstance(value, str) else getattr(value, "__name__", None) or repr(value)
            return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def _spec(tool: object, name: str) -> dataclasses.Field[Any]:
    assert dataclasses.is_dataclass(tool)
    return next(spec for spec in dataclasses.fields(tool) if spec.name == name)
