import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.__main__ import main, parser
from service.cli.probe import Question, is_fine, probed, table, tell
from service.cli.probe_checks import CHECKS, Check, Finding, Shown, Verdict, judge
from service.deadline import Clock
from service.metrics import PROBE_METRICS, Metrics
from service.outbound import Answer, Outbound
from service.secret import Secret
from tests.house import TOKEN, House, Visitor, grant
from tests.pki import Authority

CLOCK = Clock(wall=lambda: 1000.0, monotonic=lambda: 0.0)
ALLOWED, UNGRANTED, *_ = CHECKS


def house(directory: Path, *fields: str) -> House:
    """Return a house whose crm is the prober's synthetic caller, granted ``fields``."""
    made = House(directory)
    made.settings["callers"][0]["grants"] = [grant(*fields, providers=["twitter"])]
    return made


async def probe(visitor: Visitor, *, audience: str | None = None) -> Sequence[Finding]:
    """Probe a house in process."""
    credentials = {
        Shown.OWN: Secret(TOKEN),
        Shown.NONE: None,
        Shown.MADE_UP: Secret("nobodys"),
    }
    if audience is not None:
        credentials[Shown.OTHER_AUDIENCE] = Secret(audience)
    question = Question(url="http://proxy", site="shop", provider="twitter", uid="user-twitter")
    outbound = Outbound(httpx.ASGITransport(visitor.application.api))
    return await probed(question, credentials, outbound, clock=CLOCK)


def verdicts(findings: Sequence[Finding]) -> dict[str, tuple[str, str]]:
    """Return what each check got and what it means."""
    return {each.check.name: (each.got, each.verdict.value) for each in findings}


class TestProbe:
    async def test_everything_as_it_must_be(self, tmp_path: Path) -> None:
        """An allowed caller succeeds, every other is refused, and no token moves."""
        made = house(tmp_path, "providerUID")
        async with made.open() as visitor:
            findings = await probe(visitor, audience="of-another")

        assert {
            "allowed": ("200", "ok"),
            "ungranted-field": ("403: access-denied", "ok"),
            "unknown-provider": ("400: unknown-provider", "ok"),
            "no-credential": ("401: unauthenticated", "ok"),
            "made-up-credential": ("401: unauthenticated", "ok"),
            "other-audience": ("401: unauthenticated", "ok"),
        } == verdicts(findings)
        assert is_fine(findings)
        released = [r for r in made.records() if r["outcome"] == "released"]
        assert [["providerUID"]] == [record["released"] for record in released]
        assert not any("tokens" in record for record in made.records())

    async def test_a_grant_that_is_too_broad_lets_it_in(self, tmp_path: Path) -> None:
        """Where the prober may have a token, the negative check says so and the probe fails."""
        metrics = Metrics(PROBE_METRICS)
        async with house(tmp_path, "providerUID", "authToken").open() as visitor:
            findings = await probe(visitor)
        tell(metrics, "shop", findings, now=1000.0)

        assert ("200: let in", "GOT IN") == verdicts(findings)["ungranted-field"]
        assert not is_fine(findings)
        text = metrics.exposition().decode()
        assert 'credential_proxy_probe_got_in{check="ungranted-field",site="shop"} 1.0' in text
        assert 'credential_proxy_probe_success{check="ungranted-field",site="shop"} 0.0' in text

    async def test_a_caller_without_a_grant_fails_otherwise(self, tmp_path: Path) -> None:
        """Where even the allowed request is refused, nobody got in, and yet it is not well."""
        made = house(tmp_path)
        made.settings["callers"][0]["grants"] = [grant(providers=["facebook"])]
        async with made.open() as visitor:
            findings = await probe(visitor)

        assert ("403: access-denied", "WRONG") == verdicts(findings)["allowed"]
        assert "GOT IN" not in {verdict for _, verdict in verdicts(findings).values()}
        assert not is_fine(findings)

    async def test_a_check_without_its_credential_is_skipped(self, tmp_path: Path) -> None:
        """Without a token of another audience that is not asked, and not told as a success."""
        metrics = Metrics(PROBE_METRICS)
        async with house(tmp_path, "providerUID").open() as visitor:
            findings = await probe(visitor)
        tell(metrics, "shop", findings, now=1000.0)

        assert Verdict.SKIPPED == findings[-1].verdict
        assert "other-audience" not in metrics.exposition().decode()

    async def test_a_service_that_is_away_lets_nobody_in(self) -> None:
        """No answer is wrong for each check, and is told in our own words."""

        def refuse(_: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("no")

        outbound = Outbound(httpx.MockTransport(refuse))
        question = Question(url="http://proxy", site="shop", provider="twitter", uid="u")
        credentials: dict[Shown, Secret[str] | None] = {
            Shown.OWN: Secret(TOKEN),
            Shown.NONE: None,
            Shown.MADE_UP: Secret("x"),
        }
        findings = await probed(question, credentials, outbound, clock=CLOCK)

        wrong = {each.got for each in findings if each.verdict is Verdict.WRONG}
        assert {"no usable answer: refused"} == wrong
        assert len(CHECKS) - 1 == len([f for f in findings if f.verdict is Verdict.WRONG])

    async def test_the_table_names_every_check(self, tmp_path: Path) -> None:
        """It has a line for each check, which says what it must get and what it got."""
        async with house(tmp_path, "providerUID").open() as visitor:
            lines = list(table(await probe(visitor)))

        assert len(CHECKS) == len(lines)
        assert lines[0].split() == ["ok", "allowed", "must", "be", "answered", "200", "0", "ms"]
        assert not any("user-twitter" in line or TOKEN in line for line in lines)


def answer(status: int, body: bytes) -> Answer:
    """Return an answer of the service, or of something that stands in its place."""
    return Answer(status=status, headers={}, body=body)


class TestJudge:
    def test_a_release_without_tokens_is_good(self) -> None:
        """The synthetic user's provider UID, and nothing else."""
        body = b'{"tokens": {}, "provider_uid": "7"}'
        assert ("200", Verdict.GOOD) == judge(ALLOWED, answer(200, body))

    @pytest.mark.parametrize(
        "body",
        [b'{"tokens": {"access_token": "x"}, "provider_uid": "7"}', b'{"tokens": {}}', b"[]", b"<"],
        ids=["tokens", "nothing", "no object", "no JSON"],
    )
    def test_a_200_alone_is_no_success(self, body: bytes) -> None:
        """A token that moves, or an answer that is not ours, is wrong."""
        assert Verdict.WRONG == judge(ALLOWED, answer(200, body))[1]

    @given(st.binary(max_size=60), st.sampled_from(CHECKS[1:]))
    @settings(max_examples=100)
    def test_any_200_got_in(self, body: bytes, check: Check) -> None:
        """Whatever a 200 holds, it is none of what must be refused."""
        assert Verdict.GOT_IN == judge(check, answer(200, body))[1]

    @given(st.sampled_from([401, 403, 404, 500, 503]), st.text(max_size=30))
    @settings(max_examples=100)
    def test_only_the_right_refusal_is_good(self, status: int, code: str) -> None:
        """Another status or code is wrong, though nobody got in; it is never quoted."""
        got, verdict = judge(UNGRANTED, answer(status, json.dumps({"code": code}).encode()))

        is_right = (status, code) == (403, "access-denied")
        assert (Verdict.GOOD if is_right else Verdict.WRONG) == verdict
        assert got.isprintable()


ASKING = ("probe", "--url=http://127.0.0.1:1", "--site=shop", "--provider=twitter", "--uid=u")
"""A probe of a port at which nobody is."""


class TestCommand:
    def test_a_file_that_cannot_be_read_is_usage(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without its token the prober knows nothing, and says so with a status of its own."""
        status = main([*ASKING, f"--token-file={tmp_path}/none"])

        assert 2 == status
        assert "FileNotFoundError" in capsys.readouterr().err

    @pytest.mark.parametrize(("words", "status"), [((), 2), (("--ca-file-may-be-absent",), 1)])
    def test_a_ca_file_may_be_absent_where_that_is_said(
        self, tmp_path: Path, words: tuple[str, ...], status: int
    ) -> None:
        """A CA file that is not there is a fault, unless the built-in authorities may do."""
        token = tmp_path / "token"
        token.write_text("a-token\n")
        files = (f"--token-file={token}", f"--ca-file={tmp_path}/none")

        assert status == main([*ASKING, *files, *words])

    def test_writes_metrics_whole(self, tmp_path: Path) -> None:
        """The textfile has every metric of the prober, and nothing is left beside it."""
        token, text = tmp_path / "token", tmp_path / "probe.prom"
        token.write_text("a-token\n")

        files = {"token-file": token, "textfile": text, "ca-file": _authority(tmp_path)}
        status = main([*ASKING, *(f"--{name}={file}" for name, file in files.items())])

        assert 1 == status
        assert all(row.exposed in text.read_text() for row in PROBE_METRICS)
        assert {"token", "probe.prom", "ca.pem"} == {file.name for file in tmp_path.iterdir()}

    def test_needs_to_know_whom_and_what(self) -> None:
        """What has no good default must be given."""
        with pytest.raises(SystemExit):
            parser().parse_args(["probe", "--url=http://127.0.0.1:1"])
        assert isinstance(parser(), argparse.ArgumentParser)


def _authority(directory: Path) -> Path:
    file = directory / "ca.pem"
    file.write_bytes(Authority("ca").pem)
    return file
