import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from service.catalogue import BASE, Catalogue
from service.cli.live import _origin, _outbound, ask_gigya, asked
from service.cli.live_report import ADVICE, Question, report
from service.engine import Transport
from service.errors import UnknownProvider
from service.gigya.live_check import Findings
from service.model import Exchange
from service.outbound import _STAGES
from service.provider_rows import FieldNames
from service.settings.load import Loaded, load
from service.settings.sites import Site
from service.simulator import Seeded, seeded, serving
from service.simulator import build as build_simulator
from service.simulator.seeds import EVERYTHING
from service.simulator.tls import Authority
from service.wiring.world import Peer, World
from tests.settings.samples import key_set, loaded, reader, spoiled

GOOD = Findings(
    exchange=Exchange(error_code=0, call_id="c1", attempts=1, milliseconds=12.4),
    knows_all_parameters=True,
    authentication_slot="current",
    shapes={"authToken": "plain", "tokenSecret": "sealed"},
    opening="opened",
    key_slot=1,
    context_is_echoed=True,
    expiry_forms={"tokenExpiration": "seconds-since-1970"},
    signature_forms=("identity",),
    clock_offset=-1.0,
)


TWITTER = BASE.row("twitter")


def site(*edits: tuple[str, str]) -> Site:
    """Return the good configuration's first site, edited."""
    return loaded(spoiled(*edits)).settings.sites["shop"]


class TestReport:
    def test_all_is_well(self) -> None:
        """Each thing that was settled is a line."""
        told = report(GOOD, site(), TWITTER)
        assert told.is_fine
        assert (
            "ok  call: errorCode 0, 12 ms, call id c1",
            "ok  clock: Gigya's is -1 s from ours",
            "ok  authentication: current (bearer) works",
            "ok  parameters: all known",
            "ok  ignoredParams: none",
            "ok  context: echoed",
            "ok  fields: authToken plain, tokenSecret sealed",
            "ok  decryption: partner_secret_files.1 opens it",
            "ok  names: reply holds tokenSecret -> oauth1; table says oauth1; answered as oauth1",
            "ok  tokenExpiration: seconds-since-1970",
            "ok  providerUIDSig: fits identity",
        ) == told.lines

    @pytest.mark.parametrize(
        ("changed", "line"),
        [
            ({"clock_offset": 31.0}, "BAD clock: Gigya's is +31 s from ours"),
            (
                {"authentication_slot": "previous"},
                "BAD authentication: previous (user_key_signed) works",
            ),
            ({"context_is_echoed": False}, "BAD context: another request's"),
            ({"shapes": {}}, "BAD fields: none"),
            ({"opening": "unopened"}, "BAD decryption: no partner secret opens it"),
            ({"opening": "plain"}, "BAD decryption: came back plain: encryption.mode decides"),
            ({"expiry_forms": {"tokenExpiration": "unknown"}}, "BAD tokenExpiration: unknown"),
            ({"signature_forms": ()}, "BAD providerUIDSig: fits no partner secret in either form"),
            (
                {"signature_forms": ("session_info",)},
                "BAD providerUIDSig: set provider_uid_signature.base_string: session_info",
            ),
        ],
        ids=str,
    )
    def test_what_is_not_as_it_should_be(self, changed: dict[str, Any], line: str) -> None:
        """What stands between the configuration and a release is marked, with its switch."""
        told = report(replace(GOOD, **changed), site(), TWITTER)
        assert ([line], False) == ([x for x in told.lines if x.startswith("BAD")], told.is_fine)

    @pytest.mark.parametrize(
        ("changed", "line"),
        [
            ({"knows_all_parameters": False}, "ok  parameters: some are not known to checkParams"),
            ({"ignored": ("encrypt",)}, "ok  ignoredParams: encrypt"),
            (
                {"opening": "nothing-sealed"},
                "ok  decryption: nothing in this reply was sealed or had to be",
            ),
            (
                {"expiry_forms": {"sessionExpiration": "date-time-without-zone"}},
                "ok  sessionExpiration: date-time-without-zone: expiries.time_zone counts",
            ),
            ({"signature_forms": None}, "ok  providerUIDSig: none came"),
            (
                {"shapes": {"authToken": "plain"}},
                (
                    "ok  names: reply holds no tokenSecret -> oauth2; table says oauth1; "
                    "answered as oauth1"
                ),
            ),
        ],
        ids=str,
    )
    def test_what_only_deserves_a_word(self, changed: dict[str, Any], line: str) -> None:
        """What stands in nobody's way is told all the same."""
        told = report(replace(GOOD, **changed), site(), TWITTER)
        assert told.is_fine
        assert line in told.lines

    def test_relative_expiries(self) -> None:
        """Seconds left are bad until the site says that it means them."""
        findings = replace(GOOD, expiry_forms={"tokenExpiration": "seconds-left"})
        wrong = site(("relative: true", "relative: false"))
        told = [report(findings, each, TWITTER).is_fine for each in (site(), wrong)]
        assert [True, False] == told

    def test_silence_is_not_judged(self) -> None:
        """What a reply does not tell is left out."""
        quiet = replace(GOOD, context_is_echoed=None, knows_all_parameters=None, opening=None)
        heads = {line[4:].split(":")[0] for line in report(quiet, site(), TWITTER).lines}
        assert {"context", "parameters", "decryption"}.isdisjoint(heads)

    def test_a_problem_is_all_that_is_told(self) -> None:
        """Where Gigya refused, its code, our words and the clocks are told."""
        findings = Findings(exchange=Exchange(error_code=403003), problem="No.", clock_offset=200.0)
        assert (
            "BAD call: No. (errorCode 403003, 0 ms, call id none)",
            "BAD clock: Gigya's is +200 s from ours",
        ) == report(findings, site(), TWITTER).lines

    def test_no_reply_at_all(self) -> None:
        """Where Gigya could not be reached, that is told."""
        told = report(Findings(exchange=Exchange(), problem="Away."), site(), TWITTER).lines
        assert ("BAD call: Away. (no reply, 0 ms, call id none)",) == told

    @pytest.mark.parametrize(
        ("provider", "naming", "names"),
        [
            ("twitter", "documented", None),
            ("foursquare", "reply", None),
            ("foursquare", "documented", "set naming: reply"),
            ("facebook", "reply", "give the row a tokenSecret"),
        ],
    )
    def test_a_secret_that_would_be_lost(
        self, provider: str, naming: str, names: str | None
    ) -> None:
        """It is bad when what the reply holds has no name in the column that is answered."""
        where = site(("naming: documented", f"naming: {naming}"))
        told = report(GOOD, where, BASE.row(provider))
        bad = [line for line in told.lines if line.startswith("BAD names: ")]
        assert (names is None) is told.is_fine
        assert [True] * len(bad) == [names is not None and line.endswith(names) for line in bad]
        assert len(bad) == (names is not None)

    def test_names_of_ones_own(self) -> None:
        """A row of the site's own is told as such."""
        row = Catalogue({"twitter": FieldNames("key", "secret")}).row("twitter")
        [names] = [line for line in report(GOOD, site(), row).lines if "names" in line]
        assert names.endswith("table says its own; answered as its own")

    def test_a_provider_without_names(self) -> None:
        """What was asked in vain of the mapping is told beside what the reply looks like."""
        told = report(GOOD, site(), UnknownProvider("It has no row."))
        assert not told.is_fine
        assert "BAD mapping: It has no row. providers under the site gives it names." in told.lines
        assert "ok  fields: authToken plain, tokenSecret sealed" in told.lines
        assert "names" not in {line[4:].split(":")[0] for line in told.lines}

    @pytest.mark.parametrize("reason", ADVICE)
    def test_the_way_to_gigya(self, reason: str) -> None:
        """Where the call came to no answer of Gigya's, it is told what to look at."""
        findings = Findings(exchange=Exchange(), problem="Away.", reason=reason)
        told = report(findings, site(), TWITTER).lines
        assert f"BAD way to Gigya: {ADVICE[reason]}" == told[1]

    def test_every_stage_of_a_connection_has_its_advice(self) -> None:
        """What can stop a connection is in the table, and so is everything a proxy answers."""
        stages = {f"unreachable-{stage}" for _, stage in _STAGES} | {"unreachable-connection-lost"}
        assert stages | {"timeout", "not-gigya", "redirect"} == set(ADVICE)


WORLD = World()


def simulated(gigya: Seeded, url: str, **other: str) -> Loaded:
    """Return a configuration for the simulator at ``url``."""
    text = f"""
version: 1
sites:
  sim:
    api_key: {gigya.api_key}
    simulator: {{url: "{url}"}}
    partner_secret_files: [partner]
    authentication:
      current: {{method: bearer, user_key: {other.get("user_key", gigya.user_key)}, key_file: rsa}}
      previous: {{method: user_key, user_key: {gigya.user_key}, secret_file: user}}
authentication:
  - {{name: a, method: jwt, kind: oidc, issuer: "https://i", audiences: [a], keys: {{file: keys}}}}
callers: []
audit: {{key_files: [audit]}}
"""
    files = {
        "partner": other.get("partner", gigya.partner_secret).encode(),
        "user": gigya.user_secret.encode(),
        "rsa": gigya.private_key_pem,
        "keys": key_set(),
        "audit": base64.b64encode(bytes(32)),
    }
    now = datetime.fromtimestamp(WORLD.clock.wall(), UTC)
    return load(text, read_file=reader(files), now=now)


class TestAsked:
    async def ask(self, provider: str, uid: str, **other: str) -> tuple[tuple[str, ...], bool]:
        """Ask the simulator."""
        gigya = seeded("live", now=WORLD.clock.wall())
        simulator = build_simulator(gigya.world, clock=WORLD.clock.wall, loopback_is_secure=True)
        async with serving(simulator) as address:
            found = simulated(gigya, address.url, **other)
            told = await asked(found, Question(site="sim", provider=provider, uid=uid), WORLD)
        return told.lines, told.is_fine

    async def test_a_session_is_described(self) -> None:
        """One call over real HTTP settles what can be settled, under the canonical name."""
        lines, is_fine = await self.ask("twitter", "user-twitter")
        assert is_fine
        assert "ok  decryption: partner_secret_files.0 opens it" in lines
        assert "ok  authentication: current (bearer) works" in lines

    async def test_the_wrong_secret_is_seen(self) -> None:
        """A partner secret that opens nothing is told."""
        lines, is_fine = await self.ask(
            "twitter", "user-twitter", partner=base64.b64encode(bytes(32)).decode()
        )
        assert not is_fine
        assert any(line.startswith("BAD ") for line in lines)

    async def test_the_previous_key_is_seen(self) -> None:
        """It is told when only the previous way still works."""
        lines, is_fine = await self.ask("twitter", "user-twitter", user_key="AKwrong")
        assert not is_fine
        assert "BAD authentication: previous (user_key) works" in lines

    async def test_nobody_is_there(self) -> None:
        """A user that Gigya does not know is a problem with Gigya's code."""
        lines, is_fine = await self.ask("twitter", "nobody")
        assert not is_fine
        assert lines[0].startswith("BAD call: ")

    async def test_an_unknown_provider(self) -> None:
        """A provider without a mapping is asked about as it is called: its shapes tell more."""
        lines, is_fine = await self.ask("livejournal", EVERYTHING)
        assert not is_fine
        assert any(line.startswith("ok  fields: authToken plain") for line in lines)
        assert [True] == [each.startswith("BAD mapping: ") for each in lines if each[:3] == "BAD"]

    async def test_a_provider_that_nobody_knows(self) -> None:
        """What neither Gigya nor the mapping knows is told of both."""
        lines, _ = await self.ask("chirper", "user-twitter")
        assert {"BAD call", "BAD mapping"} == {x.split(":")[0] for x in lines if x[:3] == "BAD"}


class TestWhere:
    def test_a_site_is_asked_at_its_data_center(self) -> None:
        """A site of Gigya's is asked at its data center, and nowhere else."""
        assert "https://socialize.eu1.gigya.com" == _origin(site())

    async def test_trust_and_proxy_are_those_of_the_service(self) -> None:
        """The CA file and the proxy of `upstream` count for a site of Gigya's."""
        peers: list[Peer] = []

        def dial(peer: Peer) -> Transport:
            peers.append(peer)
            return WORLD.dial(peer)

        found = loaded()
        outbound = _outbound(found, found.settings.sites["shop"], World(dial=dial))
        await outbound.aclose()
        [peer] = peers
        assert ("http://proxy:3128", True) == (peer.proxy_url, peer.trust is not None)
        assert peer.proxy_credentials is not None
        assert peer.proxy_credentials.value.authorization().startswith("Basic ")

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("http://127.0.0.1:1", "unreachable-refused"),
            ("https://gigya.invalid", "unreachable-name-not-found"),
        ],
    )
    def test_nobody_answers(self, url: str, reason: str) -> None:
        """Where nobody answers, it is told at which stage, and what to look at."""
        gigya = seeded("live", now=WORLD.clock.wall())
        found = simulated(gigya, url)
        told = ask_gigya(found, Question(site="sim", provider="twitter", uid="user-twitter"))
        assert not told.is_fine
        assert told.lines[0].startswith("BAD call: ")
        assert f"BAD way to Gigya: {ADVICE[reason]}" == told.lines[1]

    async def test_someone_else_answers(self) -> None:
        """A certificate that nobody vouches for is told apart from a silent address."""
        gigya = seeded("live", now=WORLD.clock.wall())
        simulator = build_simulator(gigya.world, clock=WORLD.clock.wall)
        context = Authority().certificate().context()
        async with serving(simulator, context=context) as address:
            found = simulated(gigya, address.url)
            told = await asked(found, Question(site="sim", provider="twitter", uid="u"), WORLD)
        assert f"BAD way to Gigya: {ADVICE['unreachable-tls']}" == told.lines[1]
