"""The OpenAPI 3.1 document of a site's APIs, made of their operations and of the schemas that judge.

Layer: pure rules. Nothing is described here a second time: bodies are the published schemas with their references moved,
refusals are `eventmw.errors.PROBLEMS`.

Source: OpenAPI 3.1.1; JSON Schema draft 2020-12. ``$defs`` become components, since generators of clients know no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from eventmw.errors import PROBLEMS
from eventmw.openapi.operation import Content, KeyIn, Operation, SchemaRef
from eventmw.schema import published

Json = dict[str, Any]

VERSION: Final = "3.1.1"
_COMPONENTS: Final = "#/components/schemas/"
_PROBLEM: Final = SchemaRef("zaraz-problem")
_ERROR: Final = SchemaRef("eventbunker-answer", "error")
_TAGS: Final[Mapping[str, str]] = {
    "events": "The HTTP Events API, compatible with that of Zaraz.",
    "track": "The EventBunker API: tracking.",
    "query": "The EventBunker API: questions to the archive.",
    "delete": "The EventBunker API: deleting what was tracked.",
    "manage": "The EventBunker API: projects and keys.",
}
_FIELDS: Final[Mapping[str, Json]] = {
    "Accept-Encoding": {"description": "The encodings that are understood.", "schema": {"type": "string"}},
    "Allow": {"description": "The methods that are answered here.", "schema": {"type": "string"}},
    "Eventmw-Rejected": {
        "description": "How many events of the request were refused; absent when none was.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
    "WWW-Authenticate": {"description": "Where the key is expected.", "schema": {"type": "string"}},
}
_DEMANDED: Final[Mapping[int, str]] = {
    401: "WWW-Authenticate",
    405: "Allow",
    415: "Accept-Encoding",
    429: "Retry-After",
    503: "Retry-After",
}
"""Status → the header field that every refusal with it has."""


def document(operations: Iterable[tuple[str, Operation]], version: str, servers: Sequence[str] = ()) -> Json:
    """Return the document of operations, each given with the path that its API stands below.

    Args:
        operations: (path of the API, operation) in the order of the document.
        version: of the document: eventmw's own.
        servers: absolute addresses of the site; none: the document's own host.
    """
    given = list(operations)
    paths: dict[str, Json] = {}
    for prefix, operation in given:
        paths.setdefault(prefix + operation.path, {})[operation.method] = _operation(operation)
    used = {ref.name for _, operation in given for ref in _refs(operation)}
    return {
        "openapi": VERSION,
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {"title": "eventmw", "summary": "Events of a site, to its tools.", "version": version},
        "servers": [{"url": url} for url in servers or ("/",)],
        "tags": [{"name": name, "description": words} for name, words in _TAGS.items() if name in _tags(given)],
        "paths": paths,
        "components": {
            "schemas": {name: schema for ref in sorted(used) for name, schema in _moved(ref)},
            "headers": dict(_FIELDS),
            "securitySchemes": dict(_scheme(key) for _, operation in given for key in operation.keys),
        },
    }


def _tags(given: Sequence[tuple[str, Operation]]) -> set[str]:
    return {operation.tag for _, operation in given}


def _refs(operation: Operation) -> Iterator[SchemaRef]:
    for content in (operation.body, operation.answer):
        if content is not None:
            yield from (*content.schemas, *content.arrays_of)
    yield _PROBLEM if operation.form == "problem" else _ERROR


# Schemas


def _name(ref: SchemaRef) -> str:
    return ref.name if ref.definition is None else f"{ref.name}.{ref.definition}"


def _moved(name: str) -> Iterator[tuple[str, Any]]:
    """Return a published schema and its definitions as components, with their references after them."""
    schema = dict(published(name))
    definitions: Mapping[str, Any] = schema.pop("$defs", {})
    about = {key: schema.pop(key) for key in ("$schema", "$id") if key in schema}
    if not schema.keys() <= {"title", "description"}:
        yield name, _repointed(schema, name)
    assert "$id" in about, "a published schema has a name"
    for definition, part in definitions.items():
        yield f"{name}.{definition}", _repointed(part, name)


def _repointed(part: object, name: str) -> Any:
    if isinstance(part, dict):
        inside = cast(Mapping[str, object], part)
        return {
            key: _COMPONENTS + inner.replace("#/$defs/", f"{name}.")
            if key == "$ref" and isinstance(inner, str)
            else _repointed(inner, name)
            for key, inner in inside.items()
        }
    return [_repointed(inner, name) for inner in cast(list[object], part)] if isinstance(part, list) else part


def _ref(ref: SchemaRef) -> Json:
    return {"$ref": _COMPONENTS + _name(ref)}


def _schema(content: Content) -> Json:
    each = [_ref(ref) for ref in content.schemas]
    each += [{"type": "array", "items": _any([_ref(ref) for ref in content.arrays_of])}] if content.arrays_of else []
    return _any(each) if each else {"type": "string"}


def _any(schemas: Sequence[Json]) -> Json:
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


# Operations


def _operation(operation: Operation) -> Json:
    made: Json = {"operationId": operation.id, "tags": [operation.tag], "summary": operation.summary}
    if operation.description:
        made["description"] = operation.description
    if parameters := [*_parameters(operation)]:
        made["parameters"] = parameters
    if operation.body is not None:
        media: Json = {"schema": _body_schema(operation.body)}
        if operation.examples:
            media["examples"] = {name: {"value": value} for name, value in operation.examples.items()}
        made["requestBody"] = {"required": operation.needs_body, "content": {operation.body.media_type: media}}
    made["responses"] = dict(sorted(_responses(operation)))
    made["security"] = [*([{}] if operation.keyless else []), *({_scheme(key)[0]: []} for key in operation.keys)]
    return made


def _body_schema(content: Content) -> Json:
    """Return the schema of a request; an array of events holds at least one, or nothing of it could be taken."""
    each = [_ref(ref) for ref in content.schemas]
    items = [_ref(ref) for ref in content.arrays_of]
    return _any([*each, *([{"type": "array", "minItems": 1, "items": _any(items)}] if items else [])])


def _parameters(operation: Operation) -> Iterator[Json]:
    for name, words in operation.query.items():
        yield {"name": name, "in": "query", "required": True, "description": words, "schema": {"type": "string"}}
    for name, more in operation.headers.items():
        yield {"name": name, "in": "header", "required": False, **more}


def _scheme(key: KeyIn) -> tuple[str, Json]:
    if key.kind == "bearer":
        return "bearer", {"type": "http", "scheme": "bearer", "description": "One of the site's `keys`."}
    words = "One of the site's `keys`." if key.kind == "site" else f"A key of kind {key.kind}."
    return f"{key.kind}-key", {"type": "apiKey", "in": "header", "name": key.header, "description": words}


# Answers


def _responses(operation: Operation) -> Iterator[tuple[str, Json]]:
    yield "200", _answered(operation)
    of_status: dict[int, list[str]] = {}
    for code in sorted(operation.codes):
        of_status.setdefault(PROBLEMS[code][0], []).append(code)
    for status in sorted({*of_status, *operation.pages}):
        yield str(status), _refused(operation, status, of_status.get(status, []))


def _answered(operation: Operation) -> Json:
    answer = operation.answer
    made: Json = {"description": "Done.", "content": {answer.media_type: {"schema": _schema(answer)}}}
    if operation.counts_rejected:
        made["headers"] = {"Eventmw-Rejected": {"$ref": "#/components/headers/Eventmw-Rejected"}}
    return made


def _refused(operation: Operation, status: int, codes: Sequence[str]) -> Json:
    words = [operation.pages[status]] if status in operation.pages else []
    words += [PROBLEMS[code][1] for code in codes]
    content: Json = {}
    if operation.pages:
        content["text/html"] = {"schema": {"type": "string"}}
    if codes:
        content |= _refusal(operation, status, codes)
    made: Json = {"description": "; ".join(words) + ".", "content": content}
    if (field := _DEMANDED.get(status)) is not None:
        # A reference cannot say that a field is always there, so that it stands here whole.
        made["headers"] = {field: {**_FIELDS[field], "required": True}}
    return made


def _refusal(operation: Operation, status: int, codes: Sequence[str]) -> Json:
    if operation.form == "problem":
        narrowed = {"properties": {"code": {"enum": list(codes)}, "status": {"const": status}}}
        return {"application/problem+json": {"schema": {"allOf": [_ref(_PROBLEM), narrowed]}}}
    error = Content((_ERROR,), (_ERROR,) if operation.error_arrays and "invalid_body" in codes else ())
    return {"application/json": {"schema": _schema(error)}}
