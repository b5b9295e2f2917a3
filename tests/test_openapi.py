"""The OpenAPI document: valid, complete, and made of the schemas that judge. Source: OpenAPI 3.1.1."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from eventmw import wsgi
from eventmw.config import Settings
from eventmw.errors import PROBLEMS
from eventmw.eventbunker import Gettable, apis
from eventmw.events_api import operation
from eventmw.openapi.document import document
from eventmw.schema import Authority, published
from eventmw.settings import complete
from tests.eventbunker import REPAIRED, track, tracking
from tests.gateways import both
from tests.running import run
from tests.sites.api import EVENTBUNKER, PATH
from tests.test_contract_eventbunker import ONE

WHOLE = document(
    [(PATH, operation()), *((EVENTBUNKER, one) for one in apis.operations())], "1.2.3", ["https://x.example"]
)


def references(part: Any) -> Iterator[str]:
    match part:
        case {"$ref": str(reference)}:
            yield reference
        case dict():
            for inner in part.values():
                yield from references(inner)
        case list():
            for inner in part:
                yield from references(inner)


def resolved(reference: str, whole: Any = WHOLE) -> Any:
    assert reference.startswith("#/")
    for step in reference[2:].split("/"):
        whole = whole[step]
    return whole


def validator(schema: Any) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": WHOLE["components"]})


def operations(whole: Any = WHOLE) -> Iterator[tuple[str, str, Any]]:
    for path, item in whole["paths"].items():
        for method, one in item.items():
            yield path, method, one


@pytest.mark.parametrize(
    "options", [{}, {"keys": {"shop": "0123456789abcdef"}}, {"envelope": "array"}, {"receipt": False}]
)
def test_it_is_valid_however_the_site_is_configured(options: Any) -> None:
    config = complete(Settings(path=PATH) | options)
    made = document([(PATH, operation(config)), *((EVENTBUNKER, one) for one in apis.operations())], "0")
    OpenAPIV31SpecValidator(made).validate()
    OpenAPIV31SpecValidator(WHOLE).validate()


def test_all_references_lead_somewhere() -> None:
    found = set(references(WHOLE))
    assert len(found) > 20
    for reference in found:
        assert resolved(reference)


def test_every_call_of_a_site_is_in_it_and_nothing_else(tmp_path: Path) -> None:
    """A new call needs an `Operation` in `eventmw.eventbunker.apis.operations`, or clients never hear of it."""
    site = wsgi.EventsMiddleware(lambda *_: [], path=PATH, eventbunker_path=EVENTBUNKER, data_dir=str(tmp_path))
    calls = apis.calls_of(site.runtime)
    answered = {("/post", "post"), *((call.path, "post") for call in calls)}
    answered |= {(call.path, method) for call in calls if isinstance(call, Gettable) for method in ("get", "head")}
    assert {(one.path, one.method) for one in apis.operations()} == answered
    opens = {(call.path, call.header, kind) for call in calls for kind in call.kinds}
    told = {(one.path, key.header, key.kind) for one in apis.operations() for key in one.keys if one.path != "/post"}
    assert told == opens
    site.close(0)


def test_names_of_operations_are_unique() -> None:
    names = [one["operationId"] for _, _, one in operations()]
    assert len(set(names)) == len(names)


def test_every_problem_is_in_it() -> None:
    told = {code for one in (operation(), *apis.operations()) for code in one.codes}
    assert told == set(PROBLEMS)


@pytest.mark.parametrize("name", ["zaraz-request", "eventbunker-track", "eventbunker-query"])
def test_bodies_are_the_schemas_that_judge(name: str) -> None:
    """Nothing but the references is another."""

    def plain(part: Any) -> str:
        return re.sub(rf"#/components/schemas/{name}\.", "#/$defs/", json.dumps(part))

    own = dict(published(name))
    definitions = own.pop("$defs", {})
    del own["$id"], own["$schema"]
    schemas = WHOLE["components"]["schemas"]
    assert plain(schemas[name]) == json.dumps(own)
    for definition, part in definitions.items():
        assert plain(schemas[f"{name}.{definition}"]) == json.dumps(part)


def test_examples_are_taken() -> None:
    count = 0
    for _, _, one in operations():
        if "requestBody" not in one:
            continue
        (media,) = one["requestBody"]["content"].values()
        for example in media["examples"].values():
            assert validator(media["schema"]).is_valid(example["value"]), (one["operationId"], example)
            count += 1
    assert count >= 13


def test_the_seeds_sample_is_the_first_example() -> None:
    example = WHOLE["paths"]["/eb/post"]["post"]["requestBody"]["content"]["application/json"]["examples"]["one"]
    assert example["value"] == json.loads(REPAIRED)
    assert Authority(published("eventbunker-track")).accepts(example["value"])


def test_each_key_has_its_scheme() -> None:
    schemes = WHOLE["components"]["securitySchemes"]
    assert {name: scheme.get("name") for name, scheme in schemes.items()} == {
        "bearer": None,
        "site-key": "x-eventmw-key",
        "write-key": "x-eventbunker-write-key",
        "delete-key": "x-eventbunker-delete-key",
        "query-key": "x-eventbunker-query-key",
        "account-key": "x-eventbunker-apikey",
        "project-key": "x-eventbunker-apikey",
    }
    for path, method, one in operations():
        assert one["security"] == [] if method in {"get", "head"} else one["security"], path


@pytest.mark.parametrize(
    ("status", "field"), [(401, "WWW-Authenticate"), (405, "Allow"), (429, "Retry-After"), (503, "Retry-After")]
)
def test_refusals_name_the_fields_that_they_have(status: int, field: str) -> None:
    for path, method, one in operations():
        if str(status) in one["responses"]:
            assert one["responses"][str(status)]["headers"][field]["required"] is True, (path, method)
    assert WHOLE["paths"][PATH]["post"]["responses"][str(status)]["content"].keys() == {"application/problem+json"}
    assert WHOLE["paths"]["/eb/post"]["post"]["responses"][str(status)]["content"].keys() == {"application/json"}


def test_answers_are_as_they_are_described() -> None:
    """Both gateways, one answer and one refusal of each API; the rest is schemathesis's."""
    with tracking() as pair:
        for answer in (track(pair, ONE), track(pair, [ONE, {}]), track(pair, [{}]), track(pair, {})):
            schema = WHOLE["paths"]["/eb/post"]["post"]["responses"][str(answer.status)]["content"]["application/json"]
            validator(schema["schema"]).validate(answer.json)
        bodies: tuple[Any, ...] = ({"events": [{"client": {}}]}, {"events": []}, {"events": [5]}, b"{")
        for body in bodies:
            answer = pair.post(body)
            content = WHOLE["paths"][PATH]["post"]["responses"][str(answer.status)]["content"]
            validator(content[answer.header("content-type") or ""]["schema"]).validate(answer.json)


def test_without_keys_nobody_is_told_of_any() -> None:
    made = document([(PATH, operation(complete({"path": PATH})))], "0")
    (one,) = (one for _, _, one in operations(made))
    assert one["security"] == []
    assert "401" not in one["responses"]
    assert made["components"]["securitySchemes"] == {}


def test_an_array_of_results_is_described_where_the_site_answers_one() -> None:
    config = complete({"path": PATH, "envelope": "array"})
    made = document([(PATH, operation(config))], "0")
    schema = made["paths"][PATH]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    whole = Draft202012Validator({**schema, "components": made["components"]})
    with both(envelope="array") as pair:
        whole.validate(pair.post({"events": [{"client": {}}]}).json)
    assert not whole.is_valid({"results": []})


# The command


def test_the_command_prints_it_for_paths() -> None:
    ran = run("openapi", "--path", PATH, "--eventbunker-path", EVENTBUNKER, "--server", "https://x.example")
    assert ran.code == 0, ran.err
    assert {**ran.json, "info": None} == {**json.loads(json.dumps(WHOLE)), "info": None}


def test_the_command_reads_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "eventmw.toml"
    file.write_text('path = "/e"\n\n[keys]\nshop = "0123456789abcdef"\n')
    for source in ([str(file)], []):
        made = run("openapi", *source, cwd=tmp_path).json
        assert list(made["paths"]) == ["/e"]
        assert made["paths"]["/e"]["post"]["security"] == [{"bearer": []}, {"site-key": []}]
    assert "0123456789abcdef" not in json.dumps(made)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--path", "e"], "--path must start with /"),
        (["--eventbunker-path", "/eb/"], "--eventbunker-path must not end with /"),
        (["x.toml", "--path", "/e"], "a configuration has its own"),
        ([], "There is no eventmw.toml here"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path: Path, arguments: list[str], words: str) -> None:
    ran = run("openapi", *arguments, cwd=tmp_path)
    assert ran.code == 2
    assert words in " ".join(ran.err.split())
