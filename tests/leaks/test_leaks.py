"""No secret gets out but through the one door, whatever is asked and whatever fails."""

import asyncio
import base64
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

from service.api.problem_table import PROBLEMS
from service.listener import Listener
from service.reception import Terms
from service.simulator import Authority, serving
from service.wiring.world import dial
from tests.leaks.drive import SCENES, Drive, Secrets, gigyas_codes, releases
from tests.leaks.memory import reachable
from tests.leaks.plants import PLANTS
from tests.leaks.sentinels import Chance, forms, leaks

OURS: Final = " http://proxy/"
"""What the tests' own client logs of its requests."""
NOT_IN_MEMORY: Final = frozenset({"uid", "core of uid"})
"""A UID is no secret; it is kept as the key of what is known of it, and never shown."""


PLACES: Final = {
    *("answers", "errors", "log", "metrics", "audit", "repr", "spans"),
    *("libraries", "console", "memory"),
}
"""Where is looked."""


class Listening:
    """Hears what libraries log and what is printed."""

    def __init__(self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
        caplog.set_level(logging.DEBUG)
        self._caplog = caplog
        self._capfd = capfd

    def found(self, drive: Drive) -> list[str]:
        """Return what leaked anywhere."""
        lines = (line for line in self._caplog.text.split("\n") if OURS not in line)
        heard = {
            "libraries": "\n".join(lines).encode(),
            "console": "".join(self._capfd.readouterr()).encode(),
        }
        sentinels = drive.secrets.sentinels()
        kept = {name: text for name, text in sentinels.items() if name not in NOT_IN_MEMORY}
        memory = {"memory": b"\n".join(drive.seen.held)}
        assert {*drive.places(), *heard, *memory} == PLACES
        return leaks({**drive.places(), **heard}, sentinels) + leaks(memory, kept)


@pytest.fixture
def listening(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Listening:
    """Listen from the beginning."""
    return Listening(caplog, capfd)


class TestNothingLeaks:
    async def test_on_any_route_in_any_failure(self, tmp_path: Path, listening: Listening) -> None:
        """Neither answers, errors, logs, metrics, records, spans nor any repr hold a sentinel."""
        drive = Drive(Secrets(tmp_path))

        await drive.run(SCENES)

        assert [] == listening.found(drive)
        outcomes = {line["outcome"] for line in drive.house.lines()}
        told = {error.code for error in PROBLEMS} | {"released", "answered"}
        assert told | {"cancelled", "caller-gone"} == outcomes | {"audit-unavailable"}

    async def test_where_the_audit_is_away(self, tmp_path: Path, listening: Listening) -> None:
        """A release that is withdrawn leaves no trace of what it would have held."""
        drive = Drive(Secrets(tmp_path))
        sink = {"name": "unix", "type": "unix", "path": str(tmp_path / "nobody"), "deadline": 1}
        drive.house.settings["audit"]["sinks"] = [sink]
        drive.house.tracer = None  # nor does one that is not traced

        await drive.run({"releases": releases})

        assert [] == listening.found(drive)
        assert {"audit-unavailable", "answered"} == {x["outcome"] for x in drive.house.lines()}
        assert [] == drive.seen.released

    async def test_over_real_connections(self, tmp_path: Path, listening: Listening) -> None:
        """The engine that speaks to Gigya over TLS says nothing of what it carries."""
        drive = Drive(Secrets(tmp_path))
        authority = Authority()
        ca_file = tmp_path / "ca.pem"
        ca_file.write_bytes(authority.pem)
        drive.house.files[str(ca_file)] = authority.pem
        drive.house.dial = dial
        drive.house.settings["authentication"] = drive.house.settings["authentication"][:1]
        context = authority.certificate().context()
        async with serving(drive.house.simulator, context=context) as address:
            for site in drive.house.settings["sites"].values():
                del site["data_center"]
                site["simulator"] = {"url": address.url, "ca_file": str(ca_file)}
            await drive.run({"releases": releases, "Gigya's codes": gigyas_codes})

        assert [] == listening.found(drive)
        assert len(drive.seen.released) > len(drive.house.settings["sites"])

    async def test_before_there_is_a_request(self, tmp_path: Path, listening: Listening) -> None:
        """What the listener refuses by itself is counted and recorded by its kind, unquoted."""
        drive = Drive(Secrets(tmp_path))
        async with drive.house.open() as drive.visitor:
            application = drive.visitor.application
            listener = Listener(
                application.api,
                name="api",
                host="127.0.0.1",
                port=0,
                terms=Terms(header_timeout=0.1),
                observe=application.refused,
                turn_away=application.turn_away,
            )
            address = await listener.open()
            for octets in malformed(drive.secrets):
                reader, writer = await asyncio.open_connection(address.host, address.port)
                writer.write(octets)
                drive.seen.answers.append((await reader.read()).decode("latin-1"))
                writer.close()
            await listener.cut()
            drive.roots += [application, listener]
            drive.look(at_rest=True)
            drive.seen.metrics.append((await drive.visitor.manage("/metrics")).content)

        assert [] == listening.found(drive)
        assert "malformed-request" in drive.house.log.getvalue()


def malformed(secrets: Secrets) -> Iterator[bytes]:
    """Yield what is no request, full of secrets."""
    bearer = secrets.bearers["crm"].encode()
    line = b"GET /v1/grants HTTP/1.1\r\nHost: proxy\r\n"
    yield bearer + b"\r\n\r\n"
    yield b"\x16\x03\x01" + bearer
    yield b"GET /" + bearer + b" HTTP/9.9\r\n\r\n"
    yield line + b"Authorization Bearer " + bearer + b"\r\n\r\n"
    yield line + b"Authorization: Bearer " + bearer * 2000 + b"\r\n\r\n"
    yield line + b"Content-Length: " + bearer + b"\r\n\r\n"
    yield line + b"Transfer-Encoding: chunked\r\n\r\n" + bearer + b"\r\n"
    yield line + b"Authorization: Bearer " + bearer
    yield line + b"X: \0" + secrets.uid.encode() + b"\r\n\r\n"


class TestTheOneDoor:
    async def test_is_where_the_sentinels_come_out(self, tmp_path: Path) -> None:
        """The tokens that are looked for everywhere else are what callers were given."""
        drive = Drive(Secrets(tmp_path))

        await drive.run({"releases": releases})

        tokens = drive.secrets.tokens
        given = json.dumps(drive.seen.released)
        assert all(json.dumps(token)[1:-1] in given for token in tokens.values())
        whole = {
            "oauth_token": tokens["token"],
            "oauth_token_secret": tokens["secret"],
            "oauth_expires_in": 3600,
            "oauth_session_handle": tokens["handle"],
            "oauth_authorization_expires_in": 7200,
        }
        assert {"tokens": whole, "provider_uid": tokens["providerid"]} == drive.seen.released[0]

    async def test_sentinels_reached_gigya(self, tmp_path: Path) -> None:
        """Every secret was in use: this Gigya would have refused any other."""
        drive = Drive(Secrets(tmp_path))

        await drive.run({"releases": releases})

        secrets, calls = drive.secrets, drive.secrets.calls()
        assert {0} == {call.error_code for call in calls}
        sent = {value for call in calls for value in call.parameters.values()}
        assert {secrets.uid, *(base64.b64encode(s).decode() for s in (
            secrets.user, secrets.partner))} <= sent  # fmt: skip
        assert any(name.startswith("sig of") for name in secrets.sentinels())
        assert any(name.startswith("oauth_token of") for name in secrets.sentinels())
        assert any(name.startswith("authorization of") for name in secrets.sentinels())


class TestTheSearch:
    async def test_reaches_every_room(self, tmp_path: Path) -> None:
        """What is looked at in memory are keys, caches, credentials, policy, records, metrics."""
        drive = Drive(Secrets(tmp_path))

        await drive.run({"releases": releases})

        seen = {type(each).__qualname__ for each in reachable(drive.roots)}
        assert {
            *("Secret", "KeyRing", "RsaKey", "HmacKey", "AuditKey", "Keyring"),
            *("Session", "SessionQuery", "Cache", "Flights", "AccessToken", "Slots", "Client"),
            *("Outbound", "Breaker", "Admission", "SessionInfo", "Broker", "Api", "Recording"),
            *("Policy", "Limits", "Floods", "Static", "Jwt", "KeySet", "TokenReview"),
            *("Journal", "Sink", "Scribe", "Metrics", "Log", "Settings", "Watcher", "Lifecycle"),
        } <= seen


class TestPlanted:
    @pytest.mark.parametrize("name", PLANTS)
    async def test_is_found(self, name: str, tmp_path: Path, listening: Listening) -> None:
        """A leak that is put there on purpose is found, in its place."""
        layer, place, sentinel = PLANTS[name]
        drive = Drive(Secrets(tmp_path), layer=layer)

        await drive.run({"one release": _one_release})

        found = listening.found(drive)
        assert any(
            leak.startswith(f"{sentinel} (") and leak.endswith(f" in {place}") for leak in found
        ), found

    def test_in_each_of_ten_places(self) -> None:
        """Every place that is searched has a plant of its own."""
        assert PLACES == {place for _, place, _ in PLANTS.values()}
        assert 10 == len(PLACES)
        readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
        assert f"{len(PLANTS)} plants in {len(PLACES)} places" in readme

    async def test_nothing_planted_nothing_found(
        self, tmp_path: Path, listening: Listening
    ) -> None:
        """The same drive without a plant finds nothing."""
        drive = Drive(Secrets(tmp_path))

        await drive.run({"one release": _one_release})

        assert [] == listening.found(drive)


async def _one_release(drive: Drive) -> None:
    await drive.ask()


ENCODERS: Final[Mapping[str, Any]] = {
    "raw": lambda octets: octets,
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "base64 after one octet": lambda octets: base64.b64encode(b"x" + octets + b"yz"),
    "base64url after two octets": lambda octets: base64.urlsafe_b64encode(b"xy" + octets),
    "hex": lambda octets: octets.hex().encode(),
    "HEX": lambda octets: octets.hex().upper().encode(),
    "hex with colons": lambda octets: octets.hex(":").encode(),
    "URL": lambda octets: quote(octets, safe="").encode(),
    "url": lambda octets: quote(octets, safe="").lower().encode(),
    "JSON": lambda octets: json.dumps(octets.decode()).encode(),
    "JSON in UTF-8": lambda octets: json.dumps(octets.decode(), ensure_ascii=False).encode(),
    "repr": lambda octets: repr(octets.decode()).encode(),
    "repr of octets": lambda octets: repr(octets).encode(),
}


class TestForms:
    @pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS)
    @pytest.mark.parametrize("seed", range(5))
    def test_are_all_recognised(self, encode: Any, seed: int) -> None:
        """However a sentinel is written, it is found in the middle of other text."""
        text = Chance(seed).text("name", '/+"\\&<% é日')

        assert leaks({"log": b"before " + encode(text.encode()) + b" after"}, {"it": text.encode()})

    @pytest.mark.parametrize("encode", ["raw", "base64", "base64url", "hex", "HEX"])
    def test_of_octets(self, encode: str) -> None:
        """Octets that are no text are found too."""
        octets = b"\xff\xfe" + Chance(1).octets()

        assert leaks({"log": b"b" + ENCODERS[encode](octets)}, {"it": octets})

    def test_of_another_are_not(self) -> None:
        """A sentinel is not found in another one's forms."""
        one, other = (Chance(seed).text("name").encode() for seed in (1, 2))

        assert [] == leaks({"log": b"\n".join(forms(other).values())}, {"it": one})
