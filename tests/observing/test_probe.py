import argparse
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.__main__ import main, parser
from service.cli import probe as probe_module
from service.cli.probe import Question, is_fine, probed, table, tell
from service.cli.probe_checks import (
    CHECKS,
    NARROW,
    SECRETS,
    Check,
    Finding,
    Shown,
    Verdict,
    judge,
)
from service.deadline import Clock
from service.metrics import PROBE_METRICS, Metrics
from service.model import GRANTABLE, Field
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
            "ungranted-auth-token": ("403: access-denied", "ok"),
            "ungranted-token-secret": ("403: access-denied", "ok"),
            "ungranted-session-handle": ("403: access-denied", "ok"),
            "narrow-grant": ("200", "ok"),
            "unknown-provider": ("400: unknown-provider", "ok"),
            "no-credential": ("401: unauthenticated", "ok"),
            "made-up-credential": ("401: unauthenticated", "ok"),
            "other-audience": ("401: unauthenticated", "ok"),
        } == verdicts(findings)
        assert is_fine(findings)
        released = [r for r in made.records() if r["outcome"] == "released"]
        assert [["providerUID"]] == [record["released"] for record in released]
        assert not any("tokens" in record for record in made.records())

    @pytest.mark.parametrize("name", SECRETS)
    async def test_a_grant_that_is_too_broad_lets_it_in(self, tmp_path: Path, name: str) -> None:
        """Where the prober may have any secret, the negative check says so and the probe fails."""
        metrics = Metrics(PROBE_METRICS)
        async with house(tmp_path, "providerUID", SECRETS[name]).open() as visitor:
            findings = await probe(visitor)
        tell(metrics, "shop", findings, now=1000.0)

        let_in = {
            check for check, (_, verdict) in verdicts(findings).items() if verdict == "GOT IN"
        }
        assert {name, "narrow-grant"} == let_in
        assert ("200: let in", "GOT IN") == verdicts(findings)[name]
        assert not is_fine(findings)
        text = metrics.exposition().decode()
        assert f'credential_proxy_probe_got_in{{check="{name}",site="shop"}} 1.0' in text
        assert f'credential_proxy_probe_success{{check="{name}",site="shop"}} 0.0' in text

    def test_every_secret_is_asked_for(self) -> None:
        """What a grant may list, but for a provider's UID, has a check of its own."""
        assert {*GRANTABLE} - {Field.PROVIDER_UID} == {*SECRETS.values()}

    @pytest.mark.parametrize(
        "more",
        [
            [grant("providerUID", providers=["twitter", "google"])],
            [grant("providerUID")],
            [grant("providerUID", providers=["twitter"]), grant(providers=["vkontakte"])],
            [
                grant("providerUID", providers=["twitter"]),
                grant("providerUID", providers=["google"]),
            ],
        ],
        ids=["two providers", "all providers", "secrets of another", "a second grant"],
    )
    async def test_a_grant_for_more_than_one_provider_lets_it_in(
        self, tmp_path: Path, more: list[dict[str, Any]]
    ) -> None:
        """What the prober may have of others than its synthetic user's provider is found, too."""
        made = house(tmp_path, "providerUID")
        made.settings["callers"][0]["grants"] = more
        async with made.open() as visitor:
            findings = await probe(visitor)

        assert ("200: granted more", "GOT IN") == verdicts(findings)["narrow-grant"]
        assert not is_fine(findings)

    async def test_candidates_are_no_grants(self, tmp_path: Path) -> None:
        """What is only recorded gives nothing."""
        made = house(tmp_path, "providerUID")
        made.settings["callers"][0]["candidate_grants"] = [grant()]
        async with made.open() as visitor:
            assert is_fine(await probe(visitor))

    async def test_a_caller_without_a_grant_fails_otherwise(self, tmp_path: Path) -> None:
        """Where even the allowed request is refused, nobody got in, and yet it is not well."""
        made = house(tmp_path)
        made.settings["callers"][0]["grants"] = [grant("providerUID", providers=["facebook"])]
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


UID_ALONE = {"site": "shop", "providers": ["twitter"], "fields": ["providerUID"]}


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

    @pytest.mark.parametrize(
        "said",
        [
            b"[]",
            b"<",
            b'{"grants": []}',
            b'{"grants": "all"}',
            b'{"grants": [7]}',
            json.dumps({"grants": [UID_ALONE, UID_ALONE | {"site": "other"}]}).encode(),
        ],
        ids=["no object", "no JSON", "none", "a word", "a number", "two sites"],
    )
    def test_grants_that_cannot_be_read_are_not_narrow(self, said: bytes) -> None:
        """Only what is one provider's UID at one site, and nothing else, is good."""
        [narrow] = [check for check in CHECKS if check.name == NARROW]
        assert Verdict.GOOD != judge(narrow, answer(200, said))[1]
        assert Verdict.WRONG == judge(narrow, answer(500, said))[1]

    @given(
        st.binary(max_size=60),
        st.sampled_from([check for check in CHECKS if check.code is not None]),
    )
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
    @pytest.mark.parametrize(
        ("octets", "why"),
        [
            (None, "is a file that does not exist"),
            (b"", "must hold a token"),
            (b"\n", "must hold a token"),
            (b"one\ntwo\n", "must hold a token"),
            (b"one two\n", "must hold a token"),
            ("tok\u00e9n".encode(), "must hold a token"),
        ],
        ids=["none", "empty", "a blank line", "two lines", "two words", "no ASCII"],
    )
    def test_a_file_that_cannot_be_used_is_usage(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], octets: bytes | None, why: str
    ) -> None:
        """Without its token the prober knows nothing; it names the file and what is wrong."""
        file = tmp_path / "token"
        if octets is not None:
            file.write_bytes(octets)

        assert 2 == main([*ASKING, f"--token-file={file}"])

        assert f"a file cannot be used: {file} {why}" in capsys.readouterr().err

    def test_a_ca_that_is_none_is_usage(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """So does a file of certificates that has none, and a textfile that cannot be written."""
        token, nothing = tmp_path / "token", tmp_path / "ca.pem"
        token.write_text("a-token\n")
        nothing.write_text("nothing")
        nowhere = tmp_path / "none" / "probe.prom"

        assert 2 == main([*ASKING, f"--token-file={token}", f"--ca-file={nothing}"])
        assert 2 == main([*ASKING, f"--token-file={token}", f"--textfile={nowhere}"])

        told = capsys.readouterr().err
        assert f"{nothing} must hold certificates in PEM" in told
        assert f"{nowhere} cannot be written: No such file or directory" in told

    @pytest.mark.parametrize(
        "option",
        [
            *(f"--metrics-port={it}" for it in ("99999", "-1", "x", "\u0663", "")),
            *(f"--every={it}" for it in ("nan", "inf", "0", "-5", "0.5", "x")),
            *(
                f"--url={it}"
                for it in (
                    "foo",
                    "ftp://host",
                    "http://",
                    "http://host:99999",
                    "http://host:x",
                    "http://host/v1",
                    "http://host?x",
                    "http://host#x",
                    "http://me@host",
                    "http://[::1",
                    "http://ho st",
                )
            ),
        ],
    )
    def test_what_makes_no_sense_is_usage(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
    ) -> None:
        """A number or an address that cannot be meant is refused before anything is asked."""
        with pytest.raises(SystemExit) as ended:
            main([*ASKING, f"--token-file={tmp_path}", option])

        assert 2 == ended.value.code
        assert f"argument {option.partition('=')[0]}: must" in capsys.readouterr().err

    @pytest.mark.parametrize("url", ["http://h", "https://h:8443/", "http://[::1]:8080"])
    def test_an_address_is_taken_as_it_is(self, url: str) -> None:
        """Scheme, host and port are an address; a slash at its end is not of the path."""
        args = parser().parse_args([*ASKING, "--token-file=f", f"--url={url}"])
        assert url.rstrip("/") == args.url

    def test_a_port_that_is_taken_is_usage(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Where metrics cannot be served, that is said in one line."""
        with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104  # where metrics are served
            port = taken.getsockname()[1]
            status = main([*ASKING, f"--token-file={tmp_path}", f"--metrics-port={port}"])

        assert 2 == status
        assert f"--metrics-port {port}: Address already in use\n" == capsys.readouterr().err

    def test_nobody_need_read_the_table(self, tmp_path: Path) -> None:
        """Without standard output the status and the metrics are what they are."""
        token, text = tmp_path / "token", tmp_path / "probe.prom"
        token.write_text("a-token\n")
        read, write = os.pipe()
        os.close(read)
        ended = subprocess.run(  # noqa: S603  # ourselves
            [
                *(sys.executable, "-m", "service", *ASKING),
                f"--token-file={token}",
                f"--textfile={text}",
            ],
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
        )
        os.close(write)

        assert (1, b"") == (ended.returncode, ended.stderr)
        assert "credential_proxy_probe_success" in text.read_text()

    def test_somebody_waits_from_the_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before its first run, which may never come, the prober tells when it began."""
        seen: list[str] = []

        def run_process(_: object) -> int:
            seen.append(shown[0].exposition().decode())
            return 0

        shown: list[Metrics] = []

        def served(metrics: Metrics, _: int) -> int:
            shown.append(metrics)
            return 0

        monkeypatch.setattr(probe_module, "run_process", run_process)
        monkeypatch.setattr(Metrics, "serve", served)
        main([*ASKING, f"--token-file={tmp_path}", "--metrics-port=0"])

        [line] = [line for line in seen[0].splitlines() if line.startswith("credential_proxy")]
        assert line.startswith('credential_proxy_probe_timestamp_seconds{site="shop"}')
        assert float(line.split()[-1]) > 1_700_000_000

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
        assert "process_" not in text.read_text()  # node_exporter has its own
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
