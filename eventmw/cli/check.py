"""``eventmw check``: what a configuration says, what is wrong with it, and how it judges a payload.

Layer: people.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import IO, Any

import click
from rich.text import Text

from eventmw.cli import found, output, risks
from eventmw.cli.output import count, plain, sizes
from eventmw.config import Config
from eventmw.errors import ConfigError


@click.command(short_help="Check a configuration before the start.")
@click.argument("source", metavar=found.METAVAR, required=False)
@click.option("--payload", type=click.File("rb"), help="A payload to judge as the site would; - is standard input.")
@click.option("--eventbunker", is_flag=True, help="The payload is for the track API: one event, or an array of them.")
@output.as_json(help="One line of JSON: problems, warnings, and what is active.")
def check(source: str | None, payload: IO[bytes] | None, *, eventbunker: bool, in_json: bool) -> None:
    """Check a configuration before the site starts with it. Nothing is sent, and no thread is started.

    Without an argument it is eventmw.toml in this folder. With MODULE:APP, such as shop.main:app, the module is imported,
    and the EventsMiddleware in it is looked at.

    Ends with 1 when there are problems, or when any event of the payload is refused; warnings alone are no problem.
    """
    if eventbunker and payload is None:
        raise click.UsageError("--eventbunker says what kind of payload --payload is; name one.")
    try:
        source = found.source_or_default(source)
        config = found.configuration(source)
        problems = (*risks.missing_secrets(config), *risks.unusable_places(config))
    except ConfigError as error:
        config, problems = None, error.problems
    if config is None or problems:
        _show_problems(problems, source, in_json=in_json)
        sys.exit(1)
    judged = _judged(config, payload.read(), tracked=eventbunker) if payload else None
    if in_json:
        output.say_json(
            {"problems": [], "warnings": list(risks.warnings(config)), **_active(config), "payload": judged}
        )
    else:
        _show(config)
        if judged is not None:
            _show_judged(judged)
    sys.exit(1 if judged is not None and judged["refused"] else 0)


def _show_problems(problems: tuple[str, ...], source: str | None, *, in_json: bool) -> None:
    if in_json:
        output.say_json({"problems": problems})
        return
    output.say(f"{count(len(problems), 'problem')}; a site would not start with this:", output.BAD, error=True)
    for problem in problems:
        output.say(f"  - {plain(problem.removeprefix(f'{source}: '))}", error=True)


def _active(config: Config) -> dict[str, Any]:
    return {
        "path": config.path,
        "mounted": config.mounted,
        "eventbunker_path": config.eventbunker_path,
        "archive": None if config.eventbunker_path is None else risks.archive_of(config),
        "archive_days": config.archive_days,
        "geoip": config.geoip,
        "frame_ancestors": list(config.frame_ancestors),
        "tools": {tool.id: risks.settings_of(source) for tool, source in _tools(config)},
        "journal": config.journal,
        "data_dir": config.data_dir,
        "courier": config.courier,
        "keys": sorted(config.named_keys),
        "allowed_origins": list(config.allowed_origins),
        "trusted_proxies": config.trusted_proxies,
        "answers": {
            "batch": config.batch,
            "receipt": config.receipt,
            "envelope": config.envelope,
            "strict": config.strict,
        },
        "limits": {name: getattr(config.limits, name) for name in type(config.limits).__dataclass_fields__},
        "dry_run": config.dry_run,
        "logs": config.logs,
        "metrics_path": config.metrics_path,
        "ready_path": config.ready_path,
    }


def _tools(config: Config) -> Iterator[tuple[Any, object]]:
    return zip(config.bound_tools, (*config.tools, *config.consumers), strict=True)


def _show(config: Config) -> None:
    output.say("The configuration is valid.", output.GOOD)
    output.say("")
    for name, value in _lines(config):
        output.console().print(Text.assemble((f"{name:<9}", "bold"), value))
    for warning in risks.warnings(config):
        output.console().print(Text.assemble(("Warning: ", output.WARNING), warning))


def _lines(config: Config) -> Iterator[tuple[str, str]]:
    limits = config.limits
    yield "Path", config.path or "none"
    if config.eventbunker_path is not None:
        yield from _eventbunker_lines(config, config.eventbunker_path)
    for tool, source in _tools(config):
        settings = ", ".join(f"{name} = {plain(value)}" for name, value in risks.settings_of(source).items())
        yield "Tool", f"{tool.id} ({type(source).__name__})" + (f": {settings}" if settings else "")
    if config.path is not None or config.eventbunker_path is None:
        of = "" if config.eventbunker_path is None else f" at {config.path}"
        yield "Keys", (", ".join(config.named_keys) or "none needed") + of
        yield "Origins", ", ".join(("the site's own", *config.allowed_origins)) + of
    yield "Journal", f"{config.journal}, at most {sizes(config.journal_bytes)}; data_dir {config.data_dir}"
    yield "Delivery", "in a thread of the site" if config.courier == "thread" else "by `eventmw worker`"
    rate = f", {limits.requests_per_s:g} requests a second from one sender" if limits.requests_per_s else ""
    yield "Limits", f"{count(limits.max_events, 'event')}, {sizes(limits.max_body_bytes)} in one request{rate}"
    strict = "; strict: warnings refuse" if config.strict else ""
    if config.logs != "off":
        yield "Logs", f"{config.logs}, as eventmw.events"
    if config.metrics_path is not None:
        opens = "keys" if config.metrics_key is None else "metrics_key"
        yield "Metrics", f"{config.metrics_path}, to who shows {opens}"
    if config.ready_path is not None:
        yield "Ready", f"{config.ready_path}, to anybody"
    yield "Answers", f"batch {config.batch}, receipt {config.receipt or 'none'}, envelope {config.envelope}{strict}"


def _eventbunker_lines(config: Config, base: str) -> Iterator[tuple[str, str]]:
    yield "Track", f"{base}/post, to who shows a write key"
    yield "Calls", f"below {base}/v1, to who shows a key of their kind"
    yield (
        "Pages",
        f"the site's own, and of origins that the key lists (--origin); allowed_origins has no say below {base}",
    )
    days = "for ever" if config.archive_days is None else f"for {count(config.archive_days, 'day')}"
    yield "Archive", f"{risks.archive_of(config)}, {days}"
    yield "Places", "none, since geoip is not set" if config.geoip is None else f"by {config.geoip}"
    yield "Frames", f"charts in pages of {', '.join(config.frame_ancestors)}"


def _judged(config: Config, body: bytes, *, tracked: bool) -> dict[str, Any]:
    from eventmw.cli import judging  # noqa: PLC0415 - brings jsonschema, for this alone

    return judging.of_tracked(config, body) if tracked else judging.of_events(config, body)


def _show_judged(judged: dict[str, Any]) -> None:
    output.say("")
    if judged["problem"]:
        output.say(f"The payload would be refused: {judged['problem']}", output.BAD)
        for fault in judged["events"]:
            output.say(f"  {fault['path'] or 'the top'}: {plain(fault['message'])}")
        return
    for event in judged["events"]:
        _show_event(event)


def _show_event(event: dict[str, Any]) -> None:
    refused = event["verdict"] == "refused"
    line = Text.assemble(f"event {event['index']}: ", (event["verdict"], output.BAD if refused else output.GOOD))
    if not refused:
        line.append(f", {plain(event['name']) or '(no name)'}")
        line.append(f"; {', '.join(f'{tool} {decision}' for tool, decision in event['tools'].items()) or 'no tools'}")
    output.console().print(line)
    for note in event["notes"]:
        words = f"  {plain(note['path'])}: {plain(note['message'])}"
        output.say(words, output.BAD if refused else output.WARNING)
