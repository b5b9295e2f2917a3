"""What `import eventmw` brings, and what the package promises of its names."""

from __future__ import annotations

import dataclasses
import inspect
import os
import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import pytest

import eventmw
from eventmw.config import Config, Settings

HEAVY = ("jsonschema", "asyncio", "starlette", "werkzeug", "aiohttp", "concurrent.futures.thread", "sqlite3")


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(run.stdout.split())


def test_importing_the_package_brings_nothing_heavy() -> None:
    loaded = loaded_by("import eventmw")
    assert "eventmw.version" in loaded
    assert "eventmw.contract" not in loaded
    assert not {name for name in loaded if name.startswith(HEAVY)}


@pytest.mark.parametrize(("statement", "absent"), [
    ("import eventmw.testing", ("pytest", "aiohttp")),
    ("import eventmw.tools", ("jsonschema", "asyncio", "aiohttp", "starlette", "werkzeug")),
    ("import eventmw.asgi", ("aiohttp", "werkzeug")),
    ("import eventmw.wsgi", ("aiohttp", "starlette")),
])  # fmt: skip
def test_each_way_in_brings_only_its_own(statement: str, absent: tuple[str, ...]) -> None:
    assert not {name for name in loaded_by(statement) if name.startswith(absent)}


def test_the_version_is_the_distributions() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    assert eventmw.__version__ == project["version"]


def test_settings_are_the_fields_of_the_configuration() -> None:
    settings, fields = typing.get_type_hints(Settings), typing.get_type_hints(Config)
    assert list(settings) == [field.name for field in dataclasses.fields(Config)]
    # A path may be given as an `os.PathLike`; a configuration holds the text.
    given = {
        name: fields[name] | os.PathLike[str] if name in {"data_dir", "geoip"} else fields[name] for name in fields
    }
    assert given == settings
    assert not Settings.__required_keys__


def test_the_public_parameters_are_all_documented() -> None:
    """Each setting stands in the docstring of the public class."""
    text = inspect.getdoc(eventmw.EventsMiddleware) or ""
    missing = [field.name for field in dataclasses.fields(Config) if f"    {field.name}: " not in text]
    assert not missing


@pytest.mark.parametrize("name", eventmw.__all__)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    public = getattr(eventmw, name)
    assert public.__doc__, f"eventmw.{name} has no docstring"
    generated = f"{name}("  # what `dataclass` writes when there is none
    assert not public.__doc__.startswith(generated), f"eventmw.{name} has no docstring of its own"


def test_all_is_sorted_and_has_no_doubles() -> None:
    assert list(eventmw.__all__) == sorted(set(eventmw.__all__))


def test_every_public_name_has_a_home() -> None:
    assert set(eventmw._HOME_OF) | {"EventsMiddleware"} == set(eventmw.__all__) <= set(dir(eventmw))
    assert eventmw.tool is eventmw.contract.tool
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        eventmw.nothing  # noqa: B018 - asking is the test
