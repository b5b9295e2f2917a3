"""``eventmw openapi``: the OpenAPI 3.1 document of a site's APIs, on standard output.

Layer: people.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from eventmw import __version__
from eventmw.cli import found, output
from eventmw.config import Config
from eventmw.errors import ConfigError
from eventmw.intake.paths import path_problems
from eventmw.openapi.operation import Operation


@click.command(short_help="The OpenAPI document of a site's APIs.")
@click.argument("source", metavar=found.METAVAR, required=False)
@click.option("--path", metavar="PATH", help="Where the HTTP Events API is, such as /zaraz/api.")
@click.option("--eventbunker-path", metavar="PATH", help="What the EventBunker API is below, such as /eb.")
@click.option("--server", "servers", metavar="URL", multiple=True, help="The site's address; may be given again.")
def openapi(source: str | None, *, path: str | None, eventbunker_path: str | None, servers: tuple[str, ...]) -> None:
    """Print the OpenAPI 3.1 document of a site's APIs as JSON, made of the schemas that judge what is sent.

    \b
      eventmw openapi shop.main:app > openapi.json
      eventmw openapi --path /zaraz/api --eventbunker-path /eb

    Paths are those of the configuration; with both options, or either, none is read. Nothing is started.
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    if source is not None and (path is not None or eventbunker_path is not None):
        raise click.UsageError("Name a configuration, or the paths; a configuration has its own.")
    config = None
    if path is None and eventbunker_path is None:
        config = _configuration(source)
        path, eventbunker_path = config.path, config.eventbunker_path
    problems = [*path_problems("--path", path), *path_problems("--eventbunker-path", eventbunker_path)]
    if eventbunker_path is not None and eventbunker_path.endswith("/"):
        problems.append("--eventbunker-path must not end with /, since /post and others are put behind it")
    if problems:
        raise click.UsageError("; ".join(problems))
    from eventmw.openapi.document import document  # noqa: PLC0415 - brings jsonschema, for this alone

    made = document(_operations(config, path, eventbunker_path), __version__, servers)
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))


def _configuration(source: str | None) -> Config:
    try:
        return found.configuration(found.source_or_default(source))
    except ConfigError as error:
        output.fail(str(error))


def _operations(
    config: Config | None, path: str | None, eventbunker_path: str | None
) -> Iterator[tuple[str, Operation]]:
    from eventmw import events_api  # noqa: PLC0415 - as above

    if path is not None:
        yield path, events_api.operation(config)
    if eventbunker_path is not None:
        try:
            from eventmw.eventbunker import apis  # noqa: PLC0415 - of an extra
        except ImportError:
            output.fail("the EventBunker API needs more packages: pip install 'eventmw[eventbunker]'")
        for operation in apis.operations():
            yield eventbunker_path, operation
