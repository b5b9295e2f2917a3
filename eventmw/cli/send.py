"""``eventmw send``: post events to a running site, as a sender would.

Layer: people.
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, Final, NoReturn, cast
from urllib.parse import urlsplit

import click
from rich.text import Text

from eventmw.cli import output, tracking
from eventmw.cli.output import count, plain
from eventmw.errors import InvalidEvent
from eventmw.payload import payload

_TIMEOUT_S: Final = 30.0
_OK: Final = 200
_MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
_KEYS: Final = ("fetch", "execute", "return", "cookies")


@click.command(short_help="Post events to a site, see its answer.")
@click.argument("url")
@click.option("-e", "--event", metavar="NAME", help="Send one event with this name.")
@click.option(
    "-p",
    "--prop",
    "props",
    metavar="K=V",
    multiple=True,
    help="A property of it; may be given again. 9.5, true, [1,2] are JSON, all else is text.",
)
@click.option("--id", "ident", metavar="ID", help="Its id, against duplicates.")
@click.option("--file", "file", type=click.File("rb"), help="Send this payload as it is instead; - is standard input.")
@click.option("--key", envvar="EVENTMW_KEY", help="The key, when the site wants one. Better in $EVENTMW_KEY.")
@click.option(
    "--write-key",
    envvar=tracking.VARIABLE,
    help=f"Send to the EventBunker API, with this key. Better in ${tracking.VARIABLE}.",
)
@output.as_json(help="The answer's body as it came.")
def send(
    url: str,
    *,
    event: str | None,
    props: tuple[str, ...],
    ident: str | None,
    file: IO[bytes] | None,
    key: str | None,
    write_key: str | None,
    in_json: bool,
) -> None:
    """Post events to the site at URL, and show what it answers.

    \b
      eventmw send http://127.0.0.1:8000/zaraz/api -e purchase -p value=9.5
      eventmw send https://shop.example/zaraz/api --file payload.json
      eventmw send https://shop.example/eb/post -e signup --write-key eb_write_…

    Ends with 1 when the site refuses any of the events.
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    if (event is None) == (file is None):
        raise click.UsageError("Say what to send: either --event NAME, or --file FILE.")
    if file is not None and (props or ident):
        raise click.UsageError("--prop and --id belong to --event; with --file the payload is sent as it is.")
    if key and write_key:
        raise click.UsageError(
            f"One of --key and --write-key is expected, got both; unset ${tracking.VARIABLE} for --key."
        )
    if write_key:
        body = file.read() if file is not None else tracking.body_of(event or "", dict(map(_property, props)))
        fields = tracking.fields(write_key, ident)
    else:
        body = file.read() if file is not None else _one(event or "", props, ident)
        fields = {"x-eventmw-key": key} if key else {}
    answer = _post(url, body, fields)
    if in_json:
        output.say_json(answer.document if answer.document is not None else {"status": answer.status})
    elif tracking.is_error(answer.document):
        tracking.show_error(answer.status, answer.document, showed_key=bool(write_key))
    elif answer.status == _OK and write_key and tracking.is_answer(answer.document):
        tracking.show(answer.document)
    elif answer.status == _OK and answer.document is not None:
        _show_results(answer.document, answer.rejected)
    else:
        _show_refusal(url, answer)
    sys.exit(0 if answer.status == _OK and answer.document is not None and not answer.rejected else 1)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    rejected: int
    document: Any


def _one(event: str, props: tuple[str, ...], ident: str | None) -> bytes:
    try:
        return payload(event, dict(map(_property, props)), id=ident)
    except InvalidEvent as error:
        output.fail(str(error), code=2)


def _property(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE, such as value=9.5", param_hint="--prop")
    try:
        return name, json.loads(value, parse_constant=_not_json)
    except ValueError:
        return name, value


def _not_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is text")


def _post(url: str, body: bytes, more: Mapping[str, str]) -> _Answer:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise click.BadParameter("write it whole, such as http://127.0.0.1:8000/zaraz/api", param_hint="URL")
    fields = {"content-type": "application/json", **more}
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection = _connection(parts.scheme, parts.hostname, parts.port)
        connection.request("POST", target, body, fields)
        reply = connection.getresponse()
        answered = reply.read(_MAX_REPLY_BYTES)
        connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        output.fail(
            f"{parts.hostname} cannot be reached: {_words(error)}. Does the site run, and is the address right?"
        )
    rejected = reply.headers.get("eventmw-rejected", "0")
    return _Answer(reply.status, int(rejected) if rejected.isdecimal() else 0, _decoded(answered))


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _show_results(document: Any, rejected: int) -> None:
    whole = cast("Mapping[str, Any]", document if isinstance(document, dict) else {"results": document})
    results = whole.get("results")
    if not isinstance(results, list):
        output.fail("the answer is JSON, but has no results: is this really an eventmw path?")
    receipt: Mapping[str, Any] = whole.get("receipt") or {}
    listed = cast("list[Mapping[str, Any]]", results)
    if receipt:
        _show_receipt(receipt)
    else:
        _show_accepted(len(listed), rejected)
    for index, result in enumerate(listed):
        _show_result(index, result)
    if not any(map(_wanted, listed)):
        output.say("The Result Objects are empty, as usual: they hold only what tools ask of a browser.", output.QUIET)


def _show_accepted(results: int, rejected: int) -> None:
    """Say what an answer without a receipt tells: how many results there are, and in a header how many were refused."""
    line = Text(f"Accepted: {count(results - rejected, 'event')}", output.GOOD)
    line.append(f", {rejected:,} refused" if rejected else "", output.BAD)
    output.console().print(line.append(f" ({count(results, 'result')}, no receipt)."))


def _show_receipt(receipt: Mapping[str, Any]) -> None:
    refused = receipt["rejected"]
    line = Text.assemble(
        (f"{count(receipt['accepted'], 'event')} accepted", output.GOOD),
        (f", {refused:,} refused" if refused else "", output.BAD),
        f", {_DURABILITY.get(receipt['durability'], receipt['durability'])}. Receipt {receipt['id']}.",
    )
    output.console().print(line)
    for entry in receipt.get("events", ()):
        _show_entry(entry)


_DURABILITY: Final = {
    "memory": "kept in the site's memory",
    "journaled": "kept on disk",
    "replicated": "kept on several machines",
}
_STYLES: Final = {"invalid": output.BAD, "warned": output.WARNING}


def _show_entry(entry: Mapping[str, Any]) -> None:
    words = {"invalid": "refused", "warned": "accepted with a warning", "duplicate": "duplicate, sent before"}
    status = str(entry["status"])
    line = Text.assemble(f"  event {entry['index']}: ", (words.get(status, status), _STYLES.get(status, "")))
    if "message" in entry:
        line.append(f": {plain(entry['message'])}, at {plain(entry['path'])}")
    for tool, decision in entry.get("tools", {}).items():
        line.append(f"\n    {plain(tool)}: {plain(decision)}")
    output.console().print(line)


def _show_result(index: int, result: Mapping[str, Any]) -> None:
    for key, value in _wanted(result).items():
        output.say(f"  result {index}, {key}: {plain(value)}")


def _wanted(result: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: result[key] for key in _KEYS if result.get(key)}


def _show_refusal(url: str, answer: _Answer) -> None:
    match answer.document:
        case {"title": title, "detail": detail, "code": code, **rest}:
            problem = cast("Mapping[str, Any]", rest)
            output.say(f"Refused with {answer.status}: {plain(title)} ({plain(code)}).", output.BAD, error=True)
            output.say(plain(detail), error=True)
            for fault in problem.get("errors", ()):
                where = f"event {fault['index']}, " if "index" in fault else ""
                output.say(f"  {where}{plain(fault['path']) or 'the top'}: {plain(fault['message'])}", error=True)
            if omitted := problem.get("errors_omitted"):
                output.say(f"  and {omitted:,} more", error=True)
        case _:
            output.say(
                f"The site answered {answer.status}, and not as eventmw does. Is the path of {plain(url)} the one that the "
                "site is configured with?",
                output.BAD,
                error=True,
            )
