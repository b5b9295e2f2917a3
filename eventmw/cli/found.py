"""The configuration that ``eventmw check`` and ``worker`` are to take: of a TOML file, or inside a site's module.

Layer: people.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import click

from eventmw.config import Config, Settings
from eventmw.errors import ConfigError
from eventmw.runtime import Runtime
from eventmw.settings import complete, from_toml
from eventmw.site import Site

METAVAR: Final = "[CONFIG.toml | MODULE:APP]"
_DEFAULT: Final = "eventmw.toml"
_WRAPPED: Final = ("app", "wsgi_app", "asgi_app", "application", "middleware_stack", "_app")
_MAX_LAYERS: Final = 50


def source_or_default(source: str | None) -> str:
    """Return the source that a command names, else ``eventmw.toml`` of this folder.

    Raises:
        click.UsageError: none is named, and there is no such file.
    """
    if source:
        return source
    if not Path(_DEFAULT).exists():
        raise click.UsageError(f"There is no {_DEFAULT} here. Name a file, or a site as module:app.")
    return _DEFAULT


def configuration(source: str) -> Config:
    """Return the configuration that a source names: ``eventmw.toml``, or ``shop.wsgi:application``.

    Raises:
        ConfigError: it has problems, or nothing of eventmw is found there.
    """
    found = _found(source)
    return found.runtime.config if isinstance(found, Site) else found


def runtime(source: str) -> Runtime:
    """Return the runtime of the configuration that a source names; that of the site itself when the import made one.

    Raises:
        ConfigError: as `configuration`, or its folder cannot be used.
        JournalDown: its journal cannot be opened now.
    """
    found = _found(source)
    return found.runtime if isinstance(found, Site) else Runtime(found)


def _found(source: str) -> Site | Config:
    module_name, colon, attribute = source.partition(":")
    is_file = os.path.exists(source)  # noqa: PTH110 - a text that may be no path
    if source.endswith(".py") or (not colon and not is_file and not source.endswith(".toml")):
        module = source.removesuffix(".py").strip("./").replace("/", ".")
        raise ConfigError([f"{source} names no object: write {module}:app, or what your wrapped site is called there"])
    if source.endswith(".toml") or is_file:
        return of_file(source)
    return _inside(_imported(module_name, attribute), source)


def of_file(path: str) -> Config:
    """Return the configuration of a TOML file. Own tools are found in the working folder and beside it.

    Raises:
        ConfigError: it has problems.
    """
    _look_in(os.path.dirname(os.path.abspath(path)))  # noqa: PTH100, PTH120 - as below
    _look_in(os.getcwd())  # noqa: PTH109 - as servers do
    return complete(from_toml(path))


def _look_in(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _imported(module_name: str, attribute: str) -> object:
    _look_in(os.getcwd())  # noqa: PTH109 - as servers do
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError([f"{module_name}:{attribute} cannot be imported: {type(error).__name__}: {error}"]) from error
    return found


def _inside(app: object, source: str) -> Site | Config:
    """Return the first eventmw in a site's layers, from outside inwards, or its configuration when it is not made yet."""
    for layer in _layers(app):
        if isinstance(layer, Site):
            return layer
        for middleware in getattr(layer, "user_middleware", ()):
            made = getattr(middleware, "cls", None)
            if getattr(made, "__module__", "").partition(".")[0] == "eventmw":
                return complete(cast(Settings, dict(middleware.kwargs)))
    # Django hides what stands in MIDDLEWARE inside closures; where it is, the import of the site has made it.
    by_settings: Site | None = sys.modules["eventmw.django"].made() if "eventmw.django" in sys.modules else None
    if by_settings is not None:
        return by_settings
    raise ConfigError([f"no EventsMiddleware was found in {source}: wrap the site with it, or name the wrapped object"])


def _layers(app: object) -> Iterator[object]:
    waiting, seen = [app], set[int]()
    while waiting and len(seen) < _MAX_LAYERS:
        layer = waiting.pop(0)
        if layer is None or id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        inner = getattr(layer, "__self__", None)  # `app.wsgi_app` is most often a bound method of the app
        waiting += [getattr(layer, name, None) for name in _WRAPPED] + [inner]
