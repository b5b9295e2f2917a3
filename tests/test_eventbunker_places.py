"""Where an address is, and how that comes into an event."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet  # type: ignore[import-untyped]  # it comes with mmdb-writer, which takes networks so

from eventmw import wsgi
from eventmw.config import Config
from eventmw.errors import ConfigError
from eventmw.eventbunker.places import Places
from tests.eventbunker import BASE, kept, track, tracking
from tests.gateways import PEER

BERLIN = {
    "city": {"names": {"de": "Berlin", "en": "Berlin"}},
    "continent": {"code": "EU", "names": {"en": "Europe"}},
    "country": {"iso_code": "DE", "names": {"en": "Germany"}},
    "location": {"latitude": 52.5, "longitude": 13.4, "time_zone": "Europe/Berlin"},
    "subdivisions": [{"iso_code": "BE", "names": {"en": "State of Berlin"}}],
}
"""Source: a record of GeoLite2 City."""


@pytest.fixture
def database(tmp_path: Path) -> str:
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="GeoLite2-City")
    writer.insert_network(IPSet([f"{PEER}/32", "2001:db8::/32"]), BERLIN)
    writer.insert_network(IPSet(["198.51.100.0/24"]), {"country": {"iso_code": "FR"}, "subdivisions": []})
    writer.insert_network(IPSet(["192.0.2.0/24"]), {"country": "odd", "city": {"names": {"en": 5}}})
    file = tmp_path / "places.mmdb"
    writer.to_db_file(str(file))
    return str(file)


@pytest.mark.parametrize(
    ("ip", "place"),
    [
        (
            PEER,
            {
                "continent": "EU",
                "country": "DE",
                "region": "State of Berlin",
                "city": "Berlin",
                "time_zone": "Europe/Berlin",
            },
        ),
        ("198.51.100.7", {"country": "FR"}),
        ("192.0.2.7", {}),
        ("203.0.113.10", {}),
        ("no address", {}),
    ],
)
def test_places(database: str, ip: str, place: dict[str, str]) -> None:
    assert Places(database).of(ip) == place


def test_ipv6(database: str) -> None:
    assert Places(database).of("2001:db8::7")["city"] == "Berlin"


def test_a_tracked_event_has_its_place(database: str) -> None:
    """PROTOCOLS.md 3.1. It is in the record, so that the event stays the same whatever becomes of the file."""
    with tracking(geoip=database) as pair:
        assert track(pair, {"event_name": "x"}).status == 200
        Path(database).unlink()
        (event,) = kept(pair)
    assert event.properties == {
        "_ip": PEER,
        "_continent": "EU",
        "_country": "DE",
        "_region": "State of Berlin",
        "_city": "Berlin",
        "_time_zone": "Europe/Berlin",
    }


@pytest.mark.parametrize("header", ["sec-gpc", "dnt"])
def test_who_does_not_want_to_be_followed_has_no_address_and_no_place(database: str, header: str) -> None:
    with tracking(geoip=database) as pair:
        assert track(pair, {"event_name": "x"}, {header: "1"}).status == 200
        assert track(pair, {"event_name": "x"}, {header: "0"}).status == 200
        hidden, shown = kept(pair)
        for entry in pair.behind_asgi.runtime.journal.scan()[:1]:
            assert PEER.encode() not in entry.record
    assert hidden.properties == {}
    assert shown.properties["_city"] == "Berlin"


def test_the_address_is_the_one_that_trusted_proxies_tell(database: str) -> None:
    with tracking(geoip=database, trusted_proxies=1) as pair:
        assert track(pair, {"event_name": "x"}, {"x-forwarded-for": "192.0.2.1, 198.51.100.7"}).status == 200
        (event,) = kept(pair)
    assert (event.properties["_ip"], event.properties["_country"]) == ("198.51.100.7", "FR")


def test_a_file_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    other = tmp_path / "other.mmdb"
    other.write_bytes(b"no database")
    for file, words in (
        (tmp_path / "missing.mmdb", "cannot be read: No such file"),
        (other, "is not a file in MaxMind's format"),
    ):
        with pytest.raises(ConfigError, match=words):
            wsgi.EventsMiddleware(lambda *_: [], eventbunker_path=BASE, geoip=str(file))


def test_settings_of_it() -> None:
    with pytest.raises(ConfigError, match="geoip needs eventbunker_path"):
        Config(geoip="x.mmdb")
    with pytest.raises(ConfigError, match="geoip must be the path of a file"):
        Config(geoip="", eventbunker_path="/eb")
    assert Config(geoip="x.mmdb", eventbunker_path="/eb").geoip == "x.mmdb", "the file is looked at when a site starts"
