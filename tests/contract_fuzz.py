"""The OpenAPI document held against real sites: schemathesis makes requests of it, and looks at every answer.

``python -m tests.contract_fuzz [--examples N] [--seconds S] [SERVER …]`` is the campaign; the suite runs a small one.
SERVER is a key of `tests.servers.KINDS`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from eventmw.charts.links import Link, token_of
from eventmw.eventbunker import apis
from eventmw.events_api import operation
from eventmw.keys.grants import Grant
from eventmw.keys.place import keys_engine
from eventmw.keys.store import KeyStore
from eventmw.openapi.document import document
from eventmw.settings import complete
from tests.servers import KINDS, ROOT, Server, errors_in, running
from tests.sites.api import EVENTBUNKER, PATH, SITE_KEY

SEED = 20_240_331
SUITE_EXAMPLES = 5
CAMPAIGN_EXAMPLES = 200
CAMPAIGN_S = 600
SERVERS = ("uvicorn-h11", "gunicorn-gthread")

_CHECKS = """
[checks]
enabled = true

# What a document cannot say makes 400 of a body that its schema takes: an id that nobody has, a period that ends before it
# begins, a field that cannot be summed. That valid bodies are taken is tested by examples and models.
[checks.positive_data_acceptance]
enabled = false

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "408", "409", "411", "413", "415"]

# Of these a body that breaks the schema may be taken all the same: in a batch the good events are, and a blank body is none.
[[operations]]
include-operation-id = ["send_events", "track", "project_list", "keys_list"]
checks.negative_data_rejection.enabled = false
"""


class Keys(NamedTuple):
    """A site's keys, by the names that the document has for them; whose the account's is, and the token of a link."""

    account_id: str
    token: str
    shown: Mapping[str, str]


def keys_in(data_dir: Path) -> Keys:
    """Make an account, projects and keys. Those of the management calls are of others than those that track and ask."""
    engine = keys_engine(data_dir, None)
    store = KeyStore(engine)
    owner, played = store.account(), store.create_account()
    project, _ = store.create_project(owner, "tracked")
    _, master = store.create_project(owner, "played with")
    grants = {kind: store.create_key(project.id, Grant(kind=kind)) for kind in ("write", "query", "delete")}
    issued = {**grants, "project": master, "account": store.reset_account(played)}
    engine.dispose()
    asks = grants["query"]
    link = Link(project.id, asks.key.id, '{"time_period":"today"}', int(time.time()) + 3600)
    token = token_of(link, sha256(asks.secret.reveal().encode()).digest())
    return Keys(played, token, {f"{kind}-key": one.secret.reveal() for kind, one in issued.items()})


@contextlib.contextmanager
def site(server: str, folder: Path) -> Iterator[tuple[Server, Keys]]:
    """Serve a site with every API and a key of every kind."""
    data_dir = folder / "data"
    data_dir.mkdir(mode=0o700)
    keys = keys_in(data_dir)
    app = f"tests.sites.api_{KINDS[server].interface}"
    with running(server, folder, app=app, DATA_DIR=str(data_dir)) as served:
        yield served, keys


def described(keys: Keys) -> dict[str, Any]:
    """Return the document of that site, with an id and a token in its examples that are really there."""
    config = complete({"path": PATH, "keys": {"shop": SITE_KEY}})
    given = [(PATH, operation(config)), *((EVENTBUNKER, one) for one in apis.operations())]
    made = document(given, "0")
    made["paths"][f"{EVENTBUNKER}/v1/query/iframe"]["get"]["parameters"][0]["example"] = keys.token
    create = made["paths"][f"{EVENTBUNKER}/v1/manage/project/create"]["post"]
    create["requestBody"]["content"]["application/json"]["examples"]["one"]["value"]["account_id"] = keys.account_id
    return made


class Found(NamedTuple):
    """What came of a run: exit code, what was printed, errors in the server's log."""

    code: int
    printed: str
    errors: Sequence[str]


def fuzz(server: str, folder: Path, *options: str) -> Found:
    """Run schemathesis against a server until it ends by itself."""
    with site(server, folder) as (served, keys):
        (folder / "openapi.json").write_text(json.dumps(described(keys)))
        (folder / "schemathesis.toml").write_text(_settings(keys))
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", "openapi.json"),
            *(f"--url=http://127.0.0.1:{served.port}", f"--seed={SEED}", "--generation-deterministic"),
            *("--warnings=off", "--phases=examples,coverage,fuzzing"),
            *("--continue-on-failure", "--no-color", "--suppress-health-check=all", "--request-timeout=20", *options),
        ]
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.contract_formats"}
        done = subprocess.run(
            command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    return Found(done.returncode, done.stdout, errors_in(served.log))


def _settings(keys: Keys) -> str:
    lines = [f'[auth.openapi.bearer]\nbearer = "{SITE_KEY}"', f'[auth.openapi.site-key]\napi_key = "{SITE_KEY}"']
    lines += [f'[auth.openapi.{name}]\napi_key = "{key}"' for name, key in keys.shown.items()]
    return "\n".join((*lines, _CHECKS))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", nargs="*", default=SERVERS, metavar="SERVER")
    parser.add_argument("--examples", type=int, default=CAMPAIGN_EXAMPLES)
    parser.add_argument("--seconds", type=int, default=CAMPAIGN_S, help="for each server, at most")
    given = parser.parse_args()
    bad = 0
    for server in given.servers:
        with tempfile.TemporaryDirectory() as folder:
            limits = (f"--max-examples={given.examples}", f"--max-time={given.seconds}")
            found = fuzz(server, Path(folder), *limits)
        print(server, found.printed, *found.errors, sep="\n")
        bad += found.code != 0 or bool(found.errors)
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
