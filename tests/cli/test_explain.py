import argparse
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from service.cli import explain
from service.grants import describe_grant
from service.model import CallerName, SiteName
from service.policy import decide
from service.providers import resolve
from service.rulebook import catalogues_of, limits_of, policy_of
from service.settings.load import load

CONFIGURATION: Final = """
version: 1
sites:
  shop:
    api_key: 3_shop
    data_center: eu1
    partner_secret_files: [/nowhere/partner]
    authentication: {current: {method: bearer, user_key: ABC, key_file: /nowhere/key}}
    providers: {saml-acme: {names: oauth2}, xing: {names: {authToken: jwt}}}
  blog:
    api_key: 3_blog
    data_center: us1
    partner_secret_files: [/nowhere/partner]
    authentication: {current: {method: bearer, user_key: ABC, key_file: /nowhere/key}}
authentication:
  - name: tokens
    method: static
    tokens:
      - subject: crm
        sha256: 5fcd1a6ea7b4b0a6e2b9bd6d4a0a6d1b2ab4b7d7d6c1b8f0e5d4c3b2a1908070
        expires: 2027-01-31T00:00:00Z
      - subject: b/worker
        sha256: 6fcd1a6ea7b4b0a6e2b9bd6d4a0a6d1b2ab4b7d7d6c1b8f0e5d4c3b2a1908070
        expires: 2027-01-31T00:00:00Z
audit: {key_files: [/nowhere/audit]}
callers:
  - name: crm-sync
    identities: [{via: tokens, subject: crm}]
    limits: {rate: 5, burst: 9, in_flight: 3, distinct_users: {count: 7, window: 60}}
    grants:
      - {site: shop, providers: [facebook, saml-acme], fields: [authToken]}
      - {site: shop, providers: all, fields: [tokenSecret], user_proof: uid_signature}
    candidate_grants:
      - {site: shop, providers: [facebook], fields: [authToken]}
  - name: blocked
    identities: [{via: tokens, subject_pattern: "b/*"}]
    limits: {in_flight: 0}
    grants: [{site: blog, providers: all, fields: [authToken]}]
"""
SETTINGS: Final = load(CONFIGURATION, read_file=None, now=datetime(2026, 6, 1, tzinfo=UTC)).settings

Explain = Callable[..., int]


@pytest.fixture
def ask(tmp_path: Path) -> Explain:
    """Return what runs the command on the configuration above."""
    parser = argparse.ArgumentParser()
    explain.add_parser(parser.add_subparsers())
    file = tmp_path / "config.yaml"
    file.write_text(CONFIGURATION, "utf-8")

    def run(caller: str, site: str, provider: str, *more: str, config: Path = file) -> int:
        words = ["--config", str(config), "--caller", caller, "--site", site]
        args = parser.parse_args(["explain", *words, "--provider", provider, *more])
        status: int = args.run(args)
        return status

    return run


class TestAllowed:
    def test_names_the_rule(self, ask: Explain, capsys: pytest.CaptureFixture[str]) -> None:
        """What is allowed is told with its rule and what the candidates would do."""
        assert explain.ALLOWED == ask("crm-sync", "shop", "facebook")
        expected = (
            "allowed: crm-sync may have authToken of facebook at shop\n"
            "rule: crm-sync/grants[0]\n"
            "candidate grants: would allow this\n"
        )
        assert expected == capsys.readouterr().out

    def test_tells_what_candidates_would_leave(
        self, ask: Explain, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Candidates that give less, and none of what is denied anyhow, are told."""
        assert explain.ALLOWED == ask("crm-sync", "shop", "facebook", "--user-proof")
        assert "candidate grants: would release only authToken\n" in capsys.readouterr().out
        assert explain.DENIED == ask("crm-sync", "shop", "facebook", "--field", "tokenSecret")
        assert "candidate grants" not in capsys.readouterr().out

    def test_can_suppose_the_proof(self, ask: Explain, capsys: pytest.CaptureFixture[str]) -> None:
        """With the proof of the user supposed, what rests on it is allowed."""
        words = ("--field", "tokenSecret")
        assert explain.DENIED == ask("crm-sync", "shop", "facebook", *words)
        assert "denied: missing user-proof" in capsys.readouterr().out
        assert explain.ALLOWED == ask("crm-sync", "shop", "facebook", *words, "--user-proof")
        out = capsys.readouterr().out
        assert "user proof: the decision rests on it" in out
        assert "candidate grants: would deny this" in out


class TestDenied:
    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (("crm-sync", "blog", "facebook"), "denied: missing site"),
            (("crm-sync", "shop", "facebook", "--field", "refresh_token"), "denied: invalid"),
            (("crm-sync", "shop", "twitter", "--field", "authToken"), "denied: missing field"),
            (("crm-sync", "shop", "twitter", "--field", "oauth_token"), "denied: missing field"),
            (("crm-sync", "shop", "livejournal"), "denied: unknown-provider"),
            (("crm-sync", "shp", "twitter"), "denied: no site of that name is configured"),
            (("crm-sync", "shp", "twitter"), "sites: shop, blog"),
            (("blocked", "blog", "twitter"), "denied: missing blocked"),
            (("gone", "shop", "twitter"), "denied: no caller of that name is configured"),
            (("gone", "shop", "twitter"), "callers: crm-sync, blocked"),
            (
                ("crm-sync", "shop", "qq", "--field", "sessionHandle"),
                (
                    "crm-sync/grants[1]: site shop, providers all, fields tokenSecret, "
                    "with user proof"
                ),
            ),
            (
                ("crm-sync", "shop", "qq", "--field", "sessionHandle"),
                "crm-sync/grants[0]: site shop, providers facebook, saml-acme, fields authToken",
            ),
        ],
    )
    def test_says_why_none_does(
        self,
        ask: Explain,
        capsys: pytest.CaptureFixture[str],
        words: tuple[str, ...],
        line: str,
    ) -> None:
        """What is denied is told with what is missing and what there is."""
        assert explain.DENIED == ask(*words)
        assert any(told.startswith(line) for told in capsys.readouterr().out.splitlines())


class TestFaults:
    def test_are_told(
        self, ask: Explain, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        """A configuration with faults explains nothing."""
        file = tmp_path / "broken.yaml"
        file.write_text(CONFIGURATION.replace("data_center: eu1", "data_center: mars"), "utf-8")
        assert explain.FAULTY == ask("crm-sync", "shop", "facebook", config=file)
        assert "sites.shop.data_center" in capsys.readouterr().err

    def test_a_file_that_is_not_there(
        self, ask: Explain, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        """So does none."""
        assert explain.FAULTY == ask("a", "b", "c", config=tmp_path / "none.yaml")
        told = f"configuration: {tmp_path / 'none.yaml'} is a file that does not exist\n"
        assert told == capsys.readouterr().err


class TestAgreement:
    @pytest.mark.parametrize("proof", [False, True])
    def test_explain_grants_and_the_live_decision_agree(
        self, *, ask: Explain, capsys: pytest.CaptureFixture[str], proof: bool
    ) -> None:
        """For everything that can be asked, all three say the same."""
        policy, catalogues = policy_of(SETTINGS), catalogues_of(SETTINGS)
        fields = ("authToken", "tokenSecret", "sessionHandle", "providerUID")
        providers = ("facebook", "twitter", "saml-acme", "google")
        for name, site, provider, field in itertools.product(
            ("crm-sync", "blocked", "gone"), ("shop", "blog"), providers, fields
        ):
            if site == "blog" and provider == "saml-acme":
                continue  # no such provider there
            row = catalogues[SiteName(site)].row(provider)
            live = decide(
                policy,
                caller=CallerName(name),
                site=site,
                provider=row.name,
                fields=resolve(row, [field]),
                has_user_proof=proof,
            )
            words = ["--field", field, *(["--user-proof"] if proof else [])]
            status = ask(name, site, provider, *words)
            shown = [describe_grant(grant) for grant in policy.grants_of(CallerName(name))]
            is_listed = any(
                grant["site"] == site
                and (grant["providers"] == "all" or provider in grant["providers"])
                and field in grant["fields"]
                and (proof or grant["user_proof"] == "none")
                for grant in shown
            )
            assert (live.missing is None) is (status == explain.ALLOWED) is is_listed
            capsys.readouterr()


class TestRulebook:
    def test_compiles_every_limit(self) -> None:
        """Limits are those of the file, and a 0 among them blocks."""
        limits = limits_of(SETTINGS)
        one, other = limits[CallerName("crm-sync")], limits[CallerName("blocked")]
        assert (5, 9, 3) == (one.rate, one.burst, one.in_flight)
        assert one.distinct_users is not None
        assert (7, 60) == (one.distinct_users.count, one.distinct_users.window)
        assert [False, True] == [one.is_blocked, other.is_blocked]

    def test_compiles_every_override(self) -> None:
        """A site's rows are its own: by family, or name by name."""
        catalogues = catalogues_of(SETTINGS)
        row = catalogues[SiteName("shop")].row("xing")
        assert row.names is not None
        assert {"authToken": "jwt"} == row.names.by_field()
        assert {"shop", "blog"} == set(catalogues)
