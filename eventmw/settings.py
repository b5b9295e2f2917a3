"""Settings from outside the code: a TOML file and environment variables, made into the parameters of the middleware.

Layer: input and output (it reads a file and the environment). What is written in code wins over a variable; a variable
wins over the file.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import logging
import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, cast

from eventmw.config import Config, Limits, Settings
from eventmw.errors import ConfigError
from eventmw.secret import EnvSecret, env, variables_of

log = logging.getLogger("eventmw")

PREFIX: Final = "EVENTMW_"

_TEXTS: Final = (
    *(
        "path",
        "eventbunker_path",
        "archive",
        "geoip",
        "data_dir",
        "journal",
        "courier",
        "batch",
        "envelope",
        "logs",
        "tracebacks",
        "metrics_path",
        "metrics_key",
        "ready_path",
    ),
)
_COUNTS: Final = ("trusted_proxies", "archive_days")
_FLAGS: Final = ("mounted", "strict", "dry_run")
_LISTS: Final = ("keys", "allowed_origins", "person_fields", "frame_ancestors")
_VARIABLES: Final = frozenset(name.upper() for name in (*_TEXTS, *_FLAGS, *_LISTS, "receipt", *_COUNTS))
_named_key = re.compile(r"([A-Za-z0-9_.-]+):(.*)").fullmatch
_FLAG_WORDS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def complete(options: Settings) -> Config:
    """Return the configuration of these parameters, with environment variables for those that are not given.

    ``EVENTMW_PATH``, ``EVENTMW_DATA_DIR`` and so on for texts; ``1``/``0`` for flags; commas between the members of
    ``EVENTMW_KEYS``, ``EVENTMW_ALLOWED_ORIGINS``, ``EVENTMW_PERSON_FIELDS`` and ``EVENTMW_FRAME_ANCESTORS``;
    ``EVENTMW_LIMITS_MAX_EVENTS`` and so on for limits. A key may have a name before it:
    ``EVENTMW_KEYS=shop:0123456789abcdef,till:fedcba9876543210``.

    Raises:
        ConfigError: with every problem.
    """
    known = {spec.name for spec in dataclasses.fields(Config)}
    problems = [
        unknown("there is no setting", name, sorted(known), otherwise="the settings are")
        for name in options
        if name not in known
    ]
    given = {name: value for name, value in options.items() if name in known}
    merged: dict[str, Any] = {**_from_environment(os.environ, Limits(), problems), **given}
    try:
        config = Config(**merged)
    except ConfigError as error:
        found = (*problems, *error.problems, *_of_files(merged))
        raise ConfigError(dict.fromkeys(found)) from None
    if problems:
        raise ConfigError((*problems, *_of_files(merged)))
    return config


def unknown(problem: str, name: str, offered: Collection[str], *, otherwise: str = "there are") -> str:
    """Return a sentence on a name that does not exist: the nearest one that does, or all of them when none is near.

    Args:
        problem: the beginning of the sentence, such as ``there is no setting``.
        name: as it was written.
        offered: the names that exist.
        otherwise: what stands before all of them.
    """
    near = get_close_matches(name, offered, n=1)
    return f"{problem} {name!r}; " + (
        f"did you mean {near[0]!r}?" if near else f"{otherwise} {', '.join(offered) or 'none'}"
    )


OF_COMMANDS: Final = frozenset({"EVENTMW_KEY", "EVENTMW_WRITE_KEY", "EVENTMW_DEMO_VENDOR"})
"""Variables that only commands read, and the servers of the demo."""


def misspelt_variables(config: Config) -> Iterator[str]:
    """Return a sentence for each environment variable that is named like a setting, and that nothing reads."""
    names = {*_VARIABLES, *(f"LIMITS_{spec.name.upper()}" for spec in dataclasses.fields(Limits))}
    own = {secret.name for tool in (*config.tools, *config.consumers) for _, secret in variables_of(tool)} | OF_COMMANDS
    for variable in sorted(name for name in os.environ if name.startswith(PREFIX) and name not in own):
        if (name := variable.removeprefix(PREFIX)) not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean {PREFIX}{near[0]}?" if near else "eventmw has no such setting."
            yield f"The environment variable {variable} sets nothing: {hint}"


_warned: Final[set[str]] = set()


def warn_of_variables(config: Config) -> None:
    """Log what `misspelt_variables` finds, once in a process however many sites it has."""
    for problem in misspelt_variables(config):
        if problem not in _warned:
            _warned.add(problem)
            log.warning("%s", problem)


def _of_files(merged: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is wrong with files that a site opens at its start, so that it is told beside all else that is wrong."""
    geoip = merged.get("geoip")
    if not isinstance(geoip, str | os.PathLike) or not geoip:
        return ()
    from eventmw.eventbunker.places import problems_of  # noqa: PLC0415 - only when the start fails anyway

    return problems_of(os.fspath(cast("str | os.PathLike[str]", geoip)))


def from_toml(path: str | os.PathLike[str]) -> Settings:
    """Return the parameters that a TOML file sets, with environment variables before them.

    Tools are tables: ``[[tools]]`` with ``type`` (the name of a tool of `eventmw.tools`, or ``package.module:Name``) and its
    settings. Wherever a text may stand, ``{env = "NAME"}`` names an environment variable.

    Raises:
        ConfigError: the file cannot be read, or names what does not exist; with every problem.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path} is not valid TOML: {error}"]) from None
    problems: list[str] = []
    options: dict[str, Any] = {key: _resolved(value) for key, value in table.items()}
    for group in ("tools", "consumers"):
        if group in options:
            options[group] = list(_built(options[group], group, problems))
    if "limits" in options:
        options["limits"] = _limits(options["limits"], problems)
    if options.get("receipt") in ("none", "off"):
        options["receipt"] = False
    options |= _from_environment(os.environ, options.get("limits", Limits()), problems)
    if problems:
        # Both look at the variables, and say the same of them.
        raise ConfigError(f"{path}: {problem}" for problem in dict.fromkeys((*problems, *_others(options))))
    return cast(Settings, options)


def _others(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is wrong beside the tables that could not be read, so that a file's problems are told all at once."""
    try:
        complete(cast(Settings, options))
    except ConfigError as error:
        return error.problems
    return ()


def _resolved(value: Any) -> Any:
    """Put names of environment variables in the place of ``{env = "NAME"}``, at every level."""
    match value:
        case {"env": str(name)} if len(cast(dict[str, Any], value)) == 1:
            return env(name)
        case dict():
            return {key: _resolved(inner) for key, inner in cast(dict[str, Any], value).items()}
        case list():
            return [_resolved(inner) for inner in cast(list[object], value)]
        case _:
            return value


def _built(tables: Any, group: str, problems: list[str]) -> Iterator[object]:
    if not isinstance(tables, list):
        problems.append(f"{group} must be written as [[{group}]] tables")
        return
    for number, table in enumerate(cast(list[object], tables), 1):
        if not isinstance(table, dict) or not isinstance(cast(dict[str, Any], table).get("type"), str):
            form = _form(group, table)  # pyright: ignore[reportUnknownArgumentType] - any value of TOML
            problems.append(f"[[{group}]] number {number} needs a type{form}")
            continue
        settings = dict(cast(dict[str, Any], table))
        name = settings.pop("type")
        try:
            yield _made(name, _find(name), settings)
        except ConfigError as error:
            told = (*error.problems, *_missing_secrets(settings))
            problems += [f"[[{group}]] number {number}, {name}: {problem}" for problem in told]


def _form(group: str, given: object) -> str:
    """Return how a member of the group is written: one's own function or object as ``module:name``, or a shipped tool."""
    named = given if isinstance(given, str) else {"tools": "ga4", "consumers": "package.module:name"}[group]
    form = f"such as type = {json.dumps(named, ensure_ascii=False)}"
    return (
        f": {given!r} stands there alone; write a table [[{group}]] for each, {form}" if named is given else f", {form}"
    )


def _made(name: str, found: Any, settings: Mapping[str, Any]) -> object:
    """Return a tool of a class and its settings, or the tool that a module made itself.

    Raises:
        ConfigError: the class has no such setting, needs another one, or cannot work with one; or the tool is made already.
    """
    if not isinstance(found, type):
        if settings:
            raise ConfigError([f"it is made where it is defined, and takes no {', '.join(settings)} here"])
        return found
    offered = _parameters(found)
    problems = [] if offered is None else [*_misfits(name, offered, settings)]
    fitting = {key: value for key, value in settings.items() if offered is None or key in offered}
    lacks = offered is not None and any(_is_needed(spec) and key not in settings for key, spec in offered.items())
    made: object = None
    if not lacks:
        try:
            made = found(**fitting)
        except ConfigError as error:
            problems += [problem.removeprefix(f"{found.__name__}: ") for problem in error.problems]
        except Exception as error:  # noqa: BLE001 - an own tool's class may raise anything of a setting that it cannot use
            problems.append(f"{type(error).__name__}: {error}")
    if problems:
        raise ConfigError(problems)
    return made


def _parameters(found: type) -> Mapping[str, inspect.Parameter] | None:
    """Return the settings that a class takes; None when it takes any, or does not say."""
    try:
        offered = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return None
    return None if any(spec.kind is spec.VAR_KEYWORD for spec in offered.values()) else offered


def _is_needed(spec: inspect.Parameter) -> bool:
    return spec.default is spec.empty and spec.kind in {spec.POSITIONAL_OR_KEYWORD, spec.KEYWORD_ONLY}


def _misfits(name: str, offered: Mapping[str, inspect.Parameter], settings: Mapping[str, Any]) -> Iterator[str]:
    for key in settings:
        if key not in offered:
            yield unknown(f"{name} has no setting", key, offered)
    if lacking := [key for key, spec in offered.items() if _is_needed(spec) and key not in settings]:
        yield f"{name} needs {' and '.join(lacking)}"


def _missing_secrets(value: Any, where: str = "") -> Iterator[str]:
    """Return a sentence for each variable that is not set, of a tool that could not be made: those made are asked later."""
    match value:
        case EnvSecret() if not value.is_set():
            yield f"{where} names the environment variable {value.name}, which is not set"
        case dict():
            for key, inner in cast(dict[str, Any], value).items():
                yield from _missing_secrets(inner, f"{where}.{key}" if where else key)
        case _:
            pass


def _find(name: str) -> Any:
    """Return what a tool's ``type`` names.

    Raises:
        ConfigError: nothing has that name.
    """
    module_name, colon, attribute = name.partition(":")
    try:
        if colon:
            return getattr(importlib.import_module(module_name), attribute)
        tools = importlib.import_module("eventmw.tools")
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError([f"the tool type {name!r} cannot be imported: {error}"]) from None
    shipped = {str(public).lower(): getattr(tools, public) for public in tools.__all__}
    if name.lower().replace("_", "") not in shipped:
        problem = unknown("there is no tool type", name, sorted(shipped), otherwise="write one of")
        raise ConfigError([problem if "?" in problem else f"{problem}, or package.module:Name"])
    return shipped[name.lower().replace("_", "")]


def _limits(table: Any, problems: list[str]) -> Limits:
    known = {spec.name for spec in dataclasses.fields(Limits)}
    if not isinstance(table, dict):
        problems.append("limits must be a table")
        return Limits()
    given = cast(dict[str, Any], table)
    problems += [unknown("limits has no", name, sorted(known)) for name in given if name not in known]
    return Limits(**{name: value for name, value in given.items() if name in known})


def _from_environment(environ: Mapping[str, str], limits: Limits, problems: list[str]) -> dict[str, Any]:
    """Return what variables set; of the limits, those that no variable names stay as they are in `limits`."""
    options: dict[str, Any] = {}
    for name in (*_TEXTS, *_FLAGS, *_LISTS, "receipt", *_COUNTS):
        value = environ.get(PREFIX + name.upper())
        if value is not None:
            options[name] = _parsed(name, value, problems)
    given = {
        spec.name: _number(PREFIX + "LIMITS_" + spec.name.upper(), value, problems)
        for spec in dataclasses.fields(Limits)
        if (value := environ.get(PREFIX + "LIMITS_" + spec.name.upper())) is not None
    }
    if given:
        options["limits"] = dataclasses.replace(limits, **given)
    return options


def _parsed(name: str, value: str, problems: list[str]) -> Any:
    variable = PREFIX + name.upper()
    if name in _LISTS:
        members = [member.strip() for member in value.split(",") if member.strip()]
        return _keys(members, problems) if name == "keys" else members
    if name == "receipt":
        return _FLAG_WORDS.get(value.lower(), value) if value.lower() in {"0", "false", "no", "off"} else value
    if name in _COUNTS:
        return _number(variable, value, problems)
    if name in _FLAGS:
        if value.lower() not in _FLAG_WORDS:
            problems.append(f"{variable} must be 1 or 0")
        return _FLAG_WORDS.get(value.lower(), False)
    return value


def _keys(members: list[str], problems: list[str]) -> dict[str, str] | list[str]:
    """Return keys by name when any has one before a colon: ``shop:0123456789abcdef``."""
    found = [_named_key(member) for member in members]
    if not any(found):
        return members
    keys: dict[str, str] = {}
    for number, (member, named) in enumerate(zip(members, found, strict=True), 1):
        name, key = (named[1], named[2]) if named else (f"key-{number}", member)
        if name in keys:
            problems.append(f"{PREFIX}KEYS has two keys named {name!r}; write name:key,name:key with a name for each")
        keys[name] = key
    return keys


def _number(variable: str, value: str, problems: list[str]) -> Any:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    problems.append(f"{variable} must be a number")
    return 1
