"""Webhook: signed batches; the signature is that of Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.contract import bind
from eventmw.effects import DONE, Packed, Send
from eventmw.errors import ConfigError
from eventmw.event import Event
from eventmw.http import HttpReply, HttpRequest
from eventmw.secret import Secret, env
from eventmw.tools import Webhook
from eventmw.tools.webhook import sign, verify
from tests.running import run

URL = "https://example.com/hook"
NOW_S = 1_795_322_744
SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()


def event(ident: str, recorded_ms: int = 1_000_000, **properties: Any) -> Event:
    return Event(
        id=ident, name="n", timestamp_ms=1, recorded_ms=recorded_ms, properties=properties, cookies={"sid": "s"}
    )


def packs(tool: Webhook, events: list[Event]) -> list[Packed]:
    bound = bind(tool)
    sends = [effect for one in events for effect in bound.handle(one) if isinstance(effect, Send)]
    made = list(bound.pack(sends))
    assert [id(item) for pack in made for item in pack.items] == [id(send) for send in sends]
    return made


def request(pack: Packed) -> HttpRequest:
    assert isinstance(pack.request, HttpRequest)
    return pack.request


def only(tool: Webhook, *events: Event) -> tuple[HttpRequest, dict[str, str]]:
    (pack,) = packs(tool, list(events))
    sent = request(pack)
    assert sent.at_send is not None
    return sent, dict(sent.headers) | dict(sent.at_send(NOW_S))


def test_the_request() -> None:
    sent, headers = only(Webhook(URL), event("a", 5_000, v=1), event("b", 7_999))
    assert (sent.method, sent.url) == ("POST", URL)
    assert [one["id"] for one in json.loads(sent.body)["events"]] == ["a", "b"]
    assert headers == {
        "content-type": "application/json",
        "idempotency-key": headers["webhook-id"],
        "webhook-id": headers["webhook-id"],
        "webhook-timestamp": str(NOW_S),
    }
    assert "." not in headers["webhook-id"]


def test_the_published_example_of_standard_webhooks() -> None:
    """The test vector of the specification's reference libraries (standardwebhooks, Python, test_webhooks.py)."""
    secret, ident, timestamp = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330"
    assert sign(secret, ident, timestamp, b'{"test": 2432232314}') == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(), st.text(min_size=1).filter(lambda text: not text.startswith("whsec_")), st.integers(0, 2**40))
def test_the_signature_is_over_id_timestamp_and_body(body: bytes, secret: str, timestamp: int) -> None:
    ident = "evb_1"
    expected = hmac.new(secret.encode(), f"{ident}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    assert sign(secret, ident, str(timestamp), body) == f"v1,{base64.b64encode(expected).decode()}"


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8), st.integers(min_value=0))
def test_a_receiver_verifies_and_notices_every_change(values: list[str], place: int) -> None:
    sent, headers = only(Webhook(URL, secret=SECRET), *(event(f"e{at}", v=value) for at, value in enumerate(values)))
    assert verify(SECRET, headers, sent.body)
    at = place % len(sent.body)
    changed = sent.body[:at] + bytes([sent.body[at] ^ 1]) + sent.body[at + 1 :]
    assert not verify(SECRET, headers, changed)
    assert not verify(SECRET + "BBBB", headers, sent.body)
    for name in ("webhook-id", "webhook-timestamp"):
        assert not verify(SECRET, headers | {name: headers[name] + "1"}, sent.body)
    assert not verify(SECRET, {}, sent.body)


def test_while_a_secret_is_changed_both_verify() -> None:
    sent, headers = only(Webhook(URL, secret="new", old_secret="old"), event("a"))
    assert headers["webhook-signature"].count("v1,") == 2
    assert verify("new", headers, sent.body)
    assert verify("old", headers, sent.body)
    assert not verify("other", headers, sent.body)


@given(st.lists(st.text(max_size=200), max_size=40), st.integers(1, 10), st.integers(1, 4_000))
def test_requests_stay_within_the_limits(values: list[str], batch: int, max_bytes: int) -> None:
    tool = Webhook(URL, batch=batch, max_bytes=max_bytes)
    made = packs(tool, [event(f"e{at}", v=value) for at, value in enumerate(values)])
    for pack in made:
        assert 1 <= len(pack.items) <= batch
        assert len(request(pack).body) <= max_bytes or len(pack.items) == 1
        assert len(json.loads(request(pack).body)["events"]) == len(pack.items)
    assert [one["id"] for pack in made for one in json.loads(request(pack).body)["events"]] == [
        f"e{at}" for at in range(len(values))
    ]


def test_the_last_byte_is_used_and_no_more() -> None:
    events = [event("a"), event("b")]
    whole = len(only(Webhook(URL), *events)[0].body)
    assert [len(pack.items) for pack in packs(Webhook(URL, max_bytes=whole), events)] == [2]
    assert [len(pack.items) for pack in packs(Webhook(URL, max_bytes=whole - 1), events)] == [1, 1]


def test_the_same_batch_has_the_same_key_and_another_has_another() -> None:
    def key(*ids: str) -> str:
        return only(Webhook(URL), *(event(ident) for ident in ids))[1]["idempotency-key"]

    assert key("a", "b") == key("a", "b")
    assert len({key("a", "b"), key("b", "a"), key("ab"), key("a"), key('a","b')}) == 5


def test_own_headers_and_cookies() -> None:
    sent, headers = only(Webhook(URL, headers={"Authorization": "Bearer t"}, cookies=True), event("a"))
    assert headers["authorization"] == "Bearer t"
    assert json.loads(sent.body)["events"][0]["cookies"] == {"sid": "s"}
    assert b"cookies" not in only(Webhook(URL), event("a"))[0].body


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, "done"), (204, "done"), (302, "retry"), (400, "refused"), (401, "retry"), (404, "retry"), (410, "retry"),
     (413, "refused"), (429, "retry"), (500, "retry")],
)  # fmt: skip
def test_verdicts(status: int, kind: Any) -> None:
    bound = bind(Webhook(URL))
    sends = [Send(None), Send(None)]
    verdicts = bound.verdict(HttpReply(status, {"retry-after": "7"}), sends)
    assert [verdict.kind for verdict in verdicts] == [kind, kind]
    if kind == "retry":
        assert verdicts[0].after_s == 7.0
    if kind == "done":
        assert verdicts[0] is DONE


def test_no_secret_is_shown() -> None:
    tool = Webhook(
        "https://example.com/T0PSECRET", secret="T0PSECRET", old_secret=Secret("T0PSECRET"), headers={"x": "T0PSECRET"}
    )
    (pack,) = packs(tool, [event("a")])
    assert "T0PSECRET" not in repr(tool) + str(tool) + repr(tool.secret) + repr(dict(tool.headers)) + repr(pack.request)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"url": "http://example.com"}, "url must be https"), ({"url": "x"}, "full address"), ({"batch": 0}, "batch must be"),
     ({"max_bytes": 0}, "max_bytes"), ({"secret": ""}, "secret is empty"), ({"old_secret": "whsec_!"}, "old_secret begins with whsec_, so base64"),
     ({"headers": {"a b": "x"}}, "no name of a header field"), ({"headers": {"Host": "x"}}, "set by the webhook itself"),
     ({"headers": {"webhook-id": "x"}}, "set by the webhook itself"), ({"headers": {"x": "a\r\nb"}}, "on one line")],
)  # fmt: skip
def test_what_cannot_work_is_told_at_the_start(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Webhook(**({"url": URL} | settings))
    assert "a\r\nb" not in str(caught.value)


def test_all_problems_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Webhook("http://example.com", secret="", batch=0)
    assert len(caught.value.problems) == 3


def whsec(length: int) -> str:
    return f"whsec_{base64.b64encode(b'k' * length).decode()}"


BAD_SECRETS = [
    ("whsec_", "24 to 64 bytes, and has 0"),
    ("whsec_YQ==", "24 to 64 bytes, and has 1"),
    (whsec(23), "and has 23"),
    (whsec(65), "and has 65"),
    ("v1,whsec_", "and has 0"),
    ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "copy it whole"),
    ("whsec_MfKQ9r8GKYqrTwjUPD8I-PZIo2LaLa_w", "copy it whole"),
    ("whsec_MfKQ9r8GKYqr TwjUPD8ILPZIo2LaLaSw", "copy it whole"),
    ("whsec_ключ", "copy it whole"),
    ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "small letters"),
    ("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "shared secret"),
    ("plain\n", "line end around it"),
    (" plain", "line end around it"),
    ("plain\u00a0", "line end around it"),
    (SECRET + "\n", "line end around it"),
    ("pla\nin", "control character inside"),
    ("plain\0", "control character inside"),
]


@pytest.mark.parametrize("setting", ["secret", "old_secret"])
@pytest.mark.parametrize("kind", [str, Secret, env])
@pytest.mark.parametrize(("secret", "words"), BAD_SECRETS)
def test_a_secret_that_cannot_sign_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, setting: str, kind: Any, secret: str, words: str
) -> None:
    """Standard Webhooks: a secret is 24 to 64 bytes, base64, and begins with whsec_. The words never repeat it."""
    value = kind(secret)
    if kind is env:
        if "\0" in secret:
            return
        value = env("EVENTMW_TEST_HOOK")
        monkeypatch.setenv("EVENTMW_TEST_HOOK", secret)
    with pytest.raises(ConfigError, match=words) as caught:
        Webhook(URL, **{setting: value})
    assert len(caught.value.problems) == 1
    assert setting in caught.value.problems[0]
    assert secret[8:] not in str(caught.value) or len(secret) < 10


@pytest.mark.parametrize("secret", [whsec(24), whsec(64), "plain", "with a blank", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_other_secrets_are_taken(secret: str) -> None:
    sent, headers = only(Webhook(URL, secret=secret), event("a"))
    assert verify(secret, headers, sent.body)


def test_the_version_in_front_of_a_secret_is_no_part_of_it() -> None:
    sent, headers = only(Webhook(URL, secret=f"v1,{SECRET}"), event("a"))
    assert verify(SECRET, headers, sent.body)
    assert verify(f"v1,{SECRET}", headers, sent.body)


def test_a_header_of_the_environment_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTMW_TEST_HOOK", "Bearer t\n")
    with pytest.raises(ConfigError, match="on one line"):
        Webhook(URL, headers={"authorization": env("EVENTMW_TEST_HOOK")})


def test_a_new_secret_is_one_that_signs() -> None:
    made = {run("new-secret").out for _ in range(2)}
    assert len(made) == 2
    for line in made:
        assert line.endswith("\n")
        assert len(base64.b64decode(line.removeprefix("whsec_"), validate=False)) == 32
        Webhook(URL, secret=line.removesuffix("\n"))


def test_a_secret_of_the_environment_is_read_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = Webhook(URL, secret=env("EVENTMW_TEST_HOOK"))
    monkeypatch.setenv("EVENTMW_TEST_HOOK", "from the environment")
    sent, headers = only(tool, event("a"))
    assert verify("from the environment", headers, sent.body)
