import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings.findings import Faults
from service.settings.load import load
from tests.settings.broken import BROKEN, Broken
from tests.settings.samples import (
    GOOD,
    NOW,
    certificate,
    ec_key,
    good_files,
    key_set,
    loaded,
    reader,
    spoiled,
)


def faults_of(row: Broken) -> Faults:
    """Return what is raised for a broken configuration."""
    with pytest.raises(Faults) as caught:
        load(row.text, read_file=reader({**good_files(), **row.contents()}), now=NOW)
    return caught.value


class TestBroken:
    @pytest.mark.parametrize("row", BROKEN, ids=lambda row: row.id)
    def test_every_fault_is_told(self, row: Broken) -> None:
        """Every fault of the file is told at once, where it stands, and nothing else."""
        assert list(row.faults) == list(map(str, faults_of(row).faults))

    @pytest.mark.parametrize("row", BROKEN, ids=lambda row: row.id)
    def test_nothing_is_chained(self, row: Broken) -> None:
        """What is raised holds no other error, which might hold the input."""
        faults = faults_of(row)
        assert (None, None) == (faults.__cause__, faults.__context__)

    @pytest.mark.parametrize("row", BROKEN, ids=lambda row: row.id)
    def test_no_secret_is_told(self, row: Broken) -> None:
        """No fault quotes what a file holds or a password that stands where none belongs."""
        assert "sesame" not in str(faults_of(row))

    def test_a_path_has_an_end(self) -> None:
        """A path of more octets than Linux takes is a fault."""
        text = spoiled(("path: /run/audit.sock", f"path: /{'x' * 4096}"))
        with pytest.raises(Faults) as caught:
            load(text, read_file=reader(good_files()), now=NOW)
        assert ["audit.sinks.2.path: must have 4096 characters or fewer"] == list(
            map(str, caught.value.faults)
        )

    def test_the_corpus_is_large(self) -> None:
        """There are at least 45 broken configurations, each of its own name."""
        names = {row.id for row in BROKEN}
        assert len(BROKEN) == len(names)
        assert len(names) >= 45


class TestLines:
    def test_a_fault_knows_its_line(self) -> None:
        """A fault tells the line of its place, or of the nearest place around it."""
        text = spoiled(("naming: documented", "naming: guess"), ("    data_center: eu1\n", ""))
        with pytest.raises(Faults) as caught:
            loaded(text)
        assert [("sites.shop", 13), ("sites.shop.naming", 20)] == [
            (str(fault).split(":")[0], fault.line) for fault in caught.value.faults
        ]


class TestGood:
    def test_every_section_is_there(self) -> None:
        """The good configuration gives settings, and what its files held."""
        found = loaded()
        assert ["shop", "staging"] == list(found.settings.sites)
        assert set(good_files()) == set(found.materials)
        assert good_files()["secrets/token"] == found.materials["secrets/token"].reveal()

    def test_files_can_be_left_alone(self) -> None:
        """Without a reader no file is read, and the rest is checked all the same."""
        found = load(GOOD, read_file=None, now=NOW)
        assert loaded().settings == found.settings
        assert {} == found.materials

    def test_each_file_is_read_once(self) -> None:
        """A file that stands in several places is read once: all see the same."""
        asked: list[str] = []

        def read(path: str) -> bytes:
            asked.append(path)
            return good_files()[path]

        load(GOOD, read_file=read, now=NOW)
        assert sorted(good_files()) == sorted(asked)

    def test_materials_are_not_shown(self) -> None:
        """What files held is in no representation of what was loaded."""
        assert "user key" not in repr(loaded())
        assert "Secret(" not in repr(loaded())

    def test_bytes_are_text(self) -> None:
        """The file may come as octets in UTF-8."""
        assert loaded().settings == loaded(GOOD.encode()).settings


SMALL = """
version: 1
sites:
  shop:
    api_key: 3_x
    data_center: us1
    partner_secret_files: [secrets/partner-new]
    authentication: {current: {method: bearer, user_key: AK, key_file: secrets/rsa-new.pem}}
authentication:
  - {name: cluster, method: jwt, kind: oidc, issuer: https://i, audiences: [a], keys: {file: k}}
callers:
  - name: crm
    identities: [{via: cluster, subject: crm}]
    grants: [{site: shop, providers: all, fields: [authToken]}]
audit: {key_files: [secrets/audit-new]}
"""
PLAIN_HTTP = (
    "listeners.api: is plain HTTP: credentials and tokens are safe only if something ends TLS "
    "before it"
)
ADVICE = yaml.safe_load(Path(__file__).with_name("advice.yaml").read_text(encoding="utf-8"))
SIMULATOR = "sites.staging.simulator: is not Gigya: for tests and staging only"


class TestAdvice:
    @pytest.mark.parametrize("row", ADVICE, ids=lambda row: row["id"])
    def test_what_is_allowed_is_still_told(self, row: dict[str, Any]) -> None:
        """What is allowed and perhaps not meant is told, and nothing is refused for it."""
        edits = [(old, new) for old, new in row["edits"]]
        advice = [str(each) for each in loaded(spoiled(*edits)).advice]
        assert row["advice"] == ([each for each in advice if each != SIMULATOR] or [SIMULATOR])

    def test_plain_http_is_told(self) -> None:
        """A small configuration needs six keys, and hears that it has no TLS."""
        assert [PLAIN_HTTP] == [str(each) for each in loaded(SMALL, k=key_set()).advice]

    def test_nobody_may_ask(self) -> None:
        """No callers is allowed: it refuses everything, and says so."""
        text = (
            SMALL[: SMALL.index("callers:")]
            + "callers: []\naudit: {key_files: [secrets/audit-new]}"
        )
        assert [
            PLAIN_HTTP,
            "callers: is empty: every request is refused",
        ] == [
            str(each)
            for each in loaded(text, k=key_set()).advice
            if not re.match("sites|auth", str(each))
        ]

    def test_the_end_of_a_rotation(self) -> None:
        """The same key in both files of a list is how a rotation ends: no start is refused."""
        files = good_files()
        both = {
            "secrets/partner-old": files["secrets/partner-new"],
            "secrets/audit-old": files["secrets/audit-new"],
        }
        lists = ("sites.shop.partner_secret_files", "audit.key_files")
        told = [str(each) for each in loaded(**both).advice if "same" in str(each)]
        assert [f"{each}.1: holds the same as {each}.0" for each in lists] == told

    @pytest.mark.parametrize("says", [False, None], ids=["says no", "says nothing"])
    def test_a_leaf_is_no_authority(self, *, says: bool | None) -> None:
        """Whoever names a caller's own certificate as the authority lets in nobody else."""
        leaf = certificate(ec_key(1), is_authority=says)
        told = [str(each) for each in loaded(**{"tls/ca.pem": leaf}).advice]
        path = "listeners.api.tls.client_ca_file"
        only = f"{path}: holds no authority: only the certificates in it are let in"
        assert [only] == [each for each in told if "authority" in each]

    @pytest.mark.parametrize(
        ("begins", "told"),
        [
            (NOW - timedelta(days=11), "holds a certificate that has expired"),
            (NOW + timedelta(days=1), "holds a certificate that is not valid yet"),
        ],
        ids=["expired", "not yet"],
    )
    def test_certificates_out_of_date(self, begins: datetime, told: str) -> None:
        """A certificate out of its dates is told wherever it stands, and refuses nothing."""
        files = {"tls/ca.pem": certificate(ec_key(1), begins=begins)}
        paths = [str(each) for each in loaded(**files).advice if told in str(each)]
        assert [
            f"listeners.api.tls.client_ca_file: {told}",
            f"sites.staging.simulator.ca_file: {told}",
            f"authentication.3.ca_file: {told}",
            f"upstream.ca_file: {told}",
        ] == paths

    def test_advice_comes_with_faults(self) -> None:
        """Faults bring along the advice that does not rest on what is faulty."""
        with pytest.raises(Faults) as caught:
            loaded(spoiled(("drain: 25", "drain: 5"), ("naming: documented", "naming: guess")))
        assert ["shutdown.drain", "sites.staging.simulator"] == [
            str(each).split(":")[0] for each in caught.value.advice
        ]


class TestAllowed:
    def test_an_alias_can_be_overridden(self) -> None:
        """A row that has no mapping gets one under its alias, too."""
        text = spoiled(
            ("xing: {names: oauth1}", "orangefrance: {names: oauth2}"),
            ("[facebook, saml-acme]", "[orangefr]"),
        )
        assert "orangefrance" in loaded(text).settings.sites["shop"].providers

    def test_a_caller_may_stand_in_its_own_pattern(self) -> None:
        """An exact subject within the same caller's pattern is nothing to speak of."""
        row = "{via: cluster2, subject_pattern: news/send-*}"
        text = spoiled((row, f"{row}\n      - {{via: cluster2, subject: news/send-all}}"))
        assert [SIMULATOR] == [str(each) for each in loaded(text).advice]
