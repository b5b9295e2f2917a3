"""The configuration: every setting of `eventmw.EventsMiddleware`, checked as a whole before anything starts.

Layer: assembly, pure. `eventmw.settings` reads one from TOML and the environment.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Final, Literal, TypedDict, cast

from eventmw.archive import ARCHIVE
from eventmw.contract import BoundTool, bind
from eventmw.erasure import PERSON_FIELDS
from eventmw.errors import ConfigError
from eventmw.formats import NoOrigin, check_origin_spelling
from eventmw.intake.paths import path_problems
from eventmw.outcome import Outcome
from eventmw.secret import AnySecret, EnvSecret, Secret, reveal, variables_of
from eventmw.signatures import problems as signature_problems
from eventmw.tracebacks import TRACEBACKS, Tracebacks

MIN_DEPTH: Final = 8
"""What the fast accept path may find in an ordinary event."""

RESERVED: Final = frozenset({"anonymous", "track"})
"""Credentials that are no key's: of senders without one, and of the site's own code."""

MIN_KEY: Final = 16
"""Characters of a key: as many random ones resist guessing over a network."""

_FRAME_WORDS: Final = frozenset({"'self'", "'none'", "https:"})
"""What may stand in ``frame-ancestors`` beside origins. Source: CSP Level 3, 6.4.2; without ``*`` and ``http:``, which are
anybody at all."""

_user: Final = re.compile(r"(//)[^/@]*@").sub
_any_subdomain: Final = re.compile(r"(https?://)\*\.").subn

DEFAULT_DATA_DIR: Final = "eventmw-data"

_MIB: Final = 1024 * 1024
_JOURNALS: Final[Mapping[str, int]] = {"file": 2048 * _MIB, "memory": 64 * _MIB}
"""Journal → bytes that may wait for tools. On a disk that is well above what one tool may be behind (`Delivery`): a tool
sheds its oldest long before the door has to close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is taken from one sender, and how long anything may last. All are ours (PROTOCOLS.md 2.1).

    Attributes:
        max_body_bytes: bytes of a body, after inflating.
        max_events: events in one request.
        max_depth: containers nested in each other in a body, at least 8.
        body_timeout_s: seconds in which the whole body must come.
        append_timeout_s: seconds that keeping a record may take before the answer is 503.
        answer_budget_s: seconds that all answering tools together may take for one request.
        requests_per_s: requests a second from one key, or without keys from one IPv4 address or IPv6 /64; None for no limit.
        burst: requests that may come at once within that rate.
        exit_grace_s: seconds that a process which ends may take to deliver what it holds in memory.
        journal_bytes: bytes of records that are kept and not yet delivered; past it the answer is 503. None: 2 GiB in
            files, 64 MiB in memory.
    """

    max_body_bytes: int = 1024 * 1024
    max_events: int = 1000
    max_depth: int = 32
    body_timeout_s: float = 10.0
    append_timeout_s: float = 5.0
    answer_budget_s: float = 0.05
    requests_per_s: float | None = None
    burst: int = 100
    exit_grace_s: float = 5.0
    journal_bytes: int | None = None


_FILES: Final = ("data_dir", "geoip")
"""Settings that name a file or a folder: a `pathlib.Path` will do, and becomes text here, once for all who read them."""


class Settings(TypedDict, total=False):
    """The keyword parameters of `eventmw.EventsMiddleware`; `Config` has their defaults and checks."""

    path: str | None
    mounted: bool
    eventbunker_path: str | None
    archive: AnySecret | None
    geoip: str | os.PathLike[str] | None
    frame_ancestors: Sequence[str]
    archive_days: int | None
    tools: Sequence[object]
    consumers: Sequence[object]
    data_dir: str | os.PathLike[str]
    journal: str
    courier: Literal["thread", "off"]
    batch: Literal["independent", "atomic"]
    receipt: Literal["brief", "full", False]
    envelope: Literal["object", "array"]
    strict: bool
    keys: Mapping[str, AnySecret] | Sequence[AnySecret] | None
    allowed_origins: Sequence[str]
    trusted_proxies: int
    person_fields: Sequence[str]
    limits: Limits
    on_outcome: Callable[[Outcome], object] | None
    dry_run: bool
    logs: Literal["off", "logging", "json"]
    tracebacks: Tracebacks
    metrics_path: str | None
    metrics_key: AnySecret | None
    ready_path: str | None


@dataclass(frozen=True, kw_only=True)
class Config:
    """One validated configuration. The attributes are the parameters of `eventmw.EventsMiddleware`, described there.

    Raises:
        ConfigError: with every problem, when one is made.
    """

    path: str | None = None
    mounted: bool = False
    eventbunker_path: str | None = None
    archive: AnySecret | None = field(default=None, repr=False)
    geoip: str | None = None
    frame_ancestors: Sequence[str] = ("'self'",)
    archive_days: int | None = None
    tools: Sequence[object] = ()
    consumers: Sequence[object] = ()
    data_dir: str = DEFAULT_DATA_DIR
    journal: str = "file"
    courier: Literal["thread", "off"] = "thread"
    batch: Literal["independent", "atomic"] = "independent"
    receipt: Literal["brief", "full", False] = "brief"
    envelope: Literal["object", "array"] = "object"
    strict: bool = False
    keys: Mapping[str, AnySecret] | Sequence[AnySecret] | None = field(default=None, repr=False)
    allowed_origins: Sequence[str] = ()
    trusted_proxies: int = 0
    person_fields: Sequence[str] = PERSON_FIELDS
    limits: Limits = field(default_factory=Limits)
    on_outcome: Callable[[Outcome], object] | None = None
    dry_run: bool = False
    logs: Literal["off", "logging", "json"] = "off"
    tracebacks: Tracebacks = "masked"
    metrics_path: str | None = None
    metrics_key: AnySecret | None = field(default=None, repr=False)
    ready_path: str | None = None

    def __post_init__(self) -> None:
        for name in _FILES:
            if isinstance(path := getattr(self, name), os.PathLike):
                object.__setattr__(self, name, os.fspath(cast("os.PathLike[str]", path)))
        problems = list(_problems(self))
        if problems:
            raise ConfigError(problems)
        # From here on only what reveals a secret on purpose can show a key.
        object.__setattr__(self, "keys", {name: Secret(key) for name, key in self.named_keys.items()} or None)
        if self.metrics_key is not None:
            object.__setattr__(self, "metrics_key", Secret(reveal(self.metrics_key)))
        if self.archive is not None:  # an address may hold a password
            object.__setattr__(self, "archive", Secret(reveal(self.archive)))

    @property
    def bound_tools(self) -> tuple[BoundTool, ...]:
        """The tools and then the consumers, with every optional part resolved."""
        return tuple(bind(tool, self.tracebacks) for tool in (*self.tools, *self.consumers))

    @property
    def journal_bytes(self) -> int:
        """How many bytes may wait for tools: as the limits say, or what suits the journal."""
        return self.limits.journal_bytes or _JOURNALS[self.journal]

    @property
    def metrics_keys(self) -> dict[str, str]:
        """Name → key of what opens the metrics: `metrics_key` alone when it is set, else every key."""
        return self.named_keys if self.metrics_key is None else {"metrics": reveal(self.metrics_key)}

    @property
    def named_keys(self) -> dict[str, str]:
        """Name → key. Keys given as a list are named ``key-1``, ``key-2`` and so on."""
        if self.keys is None:
            return {}
        if isinstance(self.keys, Mapping):
            return {name: reveal(key) for name, key in self.keys.items()}
        return {f"key-{number}": reveal(key) for number, key in enumerate(self.keys, 1)}


def _problems(config: Config) -> Iterator[str]:
    yield from _all_path_problems(config)
    yield from _metrics_problems(config)
    yield from _eventbunker_problems(config)
    yield from _frame_problems(config.frame_ancestors)
    yield from _choice_problems(config)
    yield from _tool_problems(config)
    yield from _key_problems(config)
    yield from _origin_problems(config.allowed_origins)
    yield from _field_problems(config.person_fields)
    yield from _limit_problems(config.limits)
    if type(config.trusted_proxies) is not int or config.trusted_proxies < 0:
        yield f"trusted_proxies must be a count of proxies, 0 or more, not {_kind(config.trusted_proxies)}"
    on_outcome: object = config.on_outcome
    if on_outcome is not None and not callable(on_outcome):
        yield "on_outcome must be callable with one Outcome"
    elif on_outcome is not None:
        advice = "nothing awaits it: write def, and hand the Outcome to a queue or a loop of yours"
        yield from signature_problems(on_outcome, "on_outcome", ("outcome",), advice=advice)
    if config.journal == "memory" and config.courier == "off":
        yield (
            "courier='off' with journal='memory' would keep events that nobody can deliver: memory is this process's own. "
            "Use courier='thread'"
        )


def _all_path_problems(config: Config) -> Iterator[str]:
    names = ("path", "eventbunker_path", "metrics_path", "ready_path")
    for name in names:
        yield from path_problems(name, getattr(config, name))
    used = [path for name in names if (path := getattr(config, name)) is not None]
    if any(used.count(path) > 1 for path in used):
        yield f"{', '.join(names)} must differ from each other: one path has one meaning"


def _metrics_problems(config: Config) -> Iterator[str]:
    yield from _metrics_key_problems(config.metrics_key)
    if config.metrics_path is None:
        return
    if config.metrics_key is None and config.keys is None:
        yield (
            "metrics_path needs metrics_key, which Prometheus sends as its bearer token: without one, anybody could read "
            "how much the site sells. (Where keys are set and metrics_key is not, any of them opens it.)"
        )
    if find_spec("prometheus_client") is None:
        yield "metrics_path needs the prometheus-client package: pip install prometheus-client (or eventmw's extra metrics)"


def _eventbunker_problems(config: Config) -> Iterator[str]:
    yield from _geoip_problems(config)
    archive: object = config.archive
    if archive is not None and not isinstance(archive, str | Secret | EnvSecret):
        yield (
            "archive must be an address, as text or an env(…) name, such as postgresql+psycopg://… or "
            f"sqlite:////srv/shop/archive.sqlite3, got {type(archive).__name__}"
        )
    days: object = config.archive_days
    if days is not None and (type(days) is not int or days < 1):
        yield f"archive_days must be a whole number of days, 1 or more, not {_kind(days)}"
    if config.eventbunker_path is None:
        return
    below = config.eventbunker_path.rstrip("/") + "/"
    for name in ("path", "metrics_path", "ready_path"):
        if str(getattr(config, name)).startswith(below):
            yield f"{name} lies below eventbunker_path, whose paths have their own meaning"
    if config.eventbunker_path.endswith("/"):
        yield "eventbunker_path must not end with /, since /post and others are put behind it"
    if find_spec("sqlalchemy") is None:
        yield "eventbunker_path needs the sqlalchemy package: pip install 'eventmw[eventbunker]'"


def _geoip_problems(config: Config) -> Iterator[str]:
    geoip: object = config.geoip
    if geoip is None:
        return
    if not isinstance(geoip, str) or not geoip:
        yield "geoip must be the path of a file in MaxMind's format, such as GeoLite2-City.mmdb"
    if config.eventbunker_path is None:
        yield "geoip needs eventbunker_path: only tracked events have a place"
    if find_spec("maxminddb") is None:
        yield "geoip needs the maxminddb package: pip install 'eventmw[eventbunker]'"


def _metrics_key_problems(given: object) -> Iterator[str]:
    if given is None:
        return
    if not isinstance(given, str | Secret | EnvSecret):
        yield "metrics_key must be a text or an env(…) name"
        return
    try:
        yield from _form_problems("metrics_key", reveal(given))
    except ConfigError as error:
        yield from error.problems


def _form_problems(named: str, key: str) -> Iterator[str]:
    if len(key) < MIN_KEY:
        yield f"{named} is shorter than {MIN_KEY} characters and could be guessed"
    if not key.isascii() or key != key.strip():
        yield f"{named} must be ASCII without surrounding blanks, since it travels in a header"


_MAX_QUOTED: Final = 20
_CHOICES: Final[Mapping[str, tuple[object, ...]]] = {
    "journal": tuple(_JOURNALS),
    "courier": ("thread", "off"),
    "batch": ("independent", "atomic"),
    "receipt": ("brief", "full", False),
    "envelope": ("object", "array"),
    "mounted": (True, False),
    "strict": (True, False),
    "dry_run": (True, False),
    "logs": ("off", "logging", "json"),
    "tracebacks": TRACEBACKS,
}


def _choice_problems(config: Config) -> Iterator[str]:
    for name, choices in _CHOICES.items():
        value: object = getattr(config, name)
        # By type as well: 0 equals False, and nobody means it.
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            yield f"{name} must be one of {', '.join(map(repr, choices))}, not {_quoted(value)}"
    if not isinstance(config.data_dir, str) or not config.data_dir:
        yield "data_dir must be the path of a folder, as text or as a pathlib.Path"


def _tool_problems(config: Config) -> Iterator[str]:
    seen: set[str] = set()
    for group, members in (("tools", config.tools), ("consumers", config.consumers)):
        if isinstance(members, str) or not isinstance(members, Sequence):
            yield f"{group} must be a list"
            continue
        for number, member in enumerate(members, 1):
            if group == "consumers" and not callable(getattr(member, "handle", None)):
                name = getattr(member, "__name__", type(member).__name__)
                yield f"consumers number {number}: {name} is not marked as a consumer; write @consumer('its-id') above it"
                continue
            try:
                ident = bind(member).id
            except ConfigError as error:
                yield from (f"{group} number {number}: {problem}" for problem in error.problems)
                continue
            # One that is missing would only show at the first event.
            yield from (
                f"tool {ident}: {setting} names the environment variable {secret.name}, which is not set"
                for setting, secret in variables_of(member)
                if not secret.is_set()
            )
            if ident in seen:
                yield f"two tools have the id {ident!r}; give one of them its own, such as {ident}-2: places hang on ids"
            seen.add(ident)
    if config.eventbunker_path is not None and ARCHIVE in seen:
        yield f"a tool has the id {ARCHIVE!r}, which is the archive's; give it another: places hang on ids"


def _hint(name: str) -> str:
    """Return enough of a key's name to find it: whoever swapped name and key has written the key there."""
    return repr(name if len(name) < MIN_KEY else name[:4] + "…")


def _key_problems(config: Config) -> Iterator[str]:
    given: object = config.keys
    if isinstance(given, str):
        yield "keys must be a list or a table of keys, not one text"
        return
    try:
        keys = config.named_keys
    except ConfigError as error:
        yield from error.problems
        return
    except (AttributeError, TypeError):
        yield "keys must hold texts or env(…) names"
        return
    if given is not None and not keys:
        yield "keys is empty; leave it out to let everybody in"
    for name, key in keys.items():
        if not isinstance(name, str) or not name or name in RESERVED:  # pyright: ignore[reportUnnecessaryIsInstance] - a table in code may hold anything
            yield f"a key cannot be named {name!r}; choose a text other than {', '.join(sorted(RESERVED))}"
        yield from _form_problems(f"the key {_hint(str(name))}", key)
    if len(set(keys.values())) < len(keys):
        yield "two keys are the same; a credential must have one name"


def _origin_problems(origins: object) -> Iterator[str]:
    if isinstance(origins, str) or not isinstance(origins, Sequence):
        yield "allowed_origins must be a list, such as ['https://shop.example']"
        return
    for origin in map(str, cast(Sequence[object], origins)):
        try:
            check_origin_spelling(origin)
        except NoOrigin as problem:
            yield f"allowed_origins: {_without_user(origin)!r} is not an origin: {problem.advice}"


def _without_user(origin: str) -> str:
    """Return an origin without the user and password that somebody wrote into it: messages show it."""
    return _user(r"\1…@", origin)


def _frame_problems(sources: object) -> Iterator[str]:
    if isinstance(sources, str) or not isinstance(sources, Sequence) or not sources:
        yield "frame_ancestors must be a list, such as [\"'self'\", 'https://shop.example'], or [\"'none'\"]"
        return
    for source in cast(Sequence[object], sources):
        if trouble := _frame_source_problem(source):
            shown = _without_user(source) if isinstance(source, str) else source
            yield f"frame_ancestors: {shown!r} is not whom a page can be framed by{trouble}"
    if "'none'" in sources and len(cast(Sequence[object], sources)) > 1:
        yield "frame_ancestors: 'none' stands alone, since it means that nobody may"


def _frame_source_problem(source: object) -> str:
    """Return what is wrong with a source of ``frame-ancestors``, to follow its name; "" when nothing is."""
    if isinstance(source, str) and source in _FRAME_WORDS:
        return ""
    expected = "\"'self'\", \"'none'\" or an origin such as https://shop.example or https://*.example.com"
    if not isinstance(source, str) or source in {"null", "file://"}:  # a CSP has no word for these
        return f"; write {expected}"
    exact, patterns = _any_subdomain(r"\1", source)  # here, and only here, browsers know patterns
    try:
        check_origin_spelling(exact)
    except NoOrigin as problem:
        right = problem.spelling.replace("://", "://*.") if patterns else problem.spelling
        return f": {NoOrigin(problem.why, right).advice}. Expected {expected}"
    return ""


def _field_problems(fields: object) -> Iterator[str]:
    if isinstance(fields, str) or not isinstance(fields, Sequence):
        yield "person_fields must be a list, such as ['user_id', 'system.cookies.uid']"
        return
    for name in cast(Sequence[object], fields):
        if not isinstance(name, str) or not all(name.split(".")):
            yield f"person_fields: {name!r} is neither a property such as user_id nor a path such as system.cookies.uid"


def _kind(value: object) -> str:
    """Return what came where a number was expected: ``"500"`` looks like one, and is text."""
    if isinstance(value, str):
        return f"{_quoted(value)}; write it without quotes"
    return repr(value) if isinstance(value, int | float) else type(value).__name__


def _quoted(value: object) -> str:
    """Return a short value as it was written; a long one or an address may hold a secret."""
    if isinstance(value, str) and (len(value) > _MAX_QUOTED or "@" in value):
        return "another text"
    return f"the text {value!r}" if isinstance(value, str) else repr(value)


def _limit_problems(limits: object) -> Iterator[str]:
    if not isinstance(limits, Limits):
        yield "limits must be an eventmw.Limits(…)"
        return
    for spec in dataclasses.fields(limits):
        value: Any = getattr(limits, spec.name)
        if value is None and spec.default is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            yield f"limits.{spec.name} must be a number above 0, not {_kind(value)}"
        elif spec.type in {"int", "int | None"} and not isinstance(value, int):
            yield f"limits.{spec.name} must be a whole number"
    if isinstance(limits.max_depth, int) and limits.max_depth < MIN_DEPTH:
        yield f"limits.max_depth must be at least {MIN_DEPTH}, which ordinary events reach"
