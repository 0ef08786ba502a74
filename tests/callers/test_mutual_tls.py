"""Whom a certificate names, as configured and never otherwise."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from service.callers.credentials import Credentials
from service.callers.mutual_tls import Holder, Kind, MutualTls, holder_of
from service.callers.refusals import Refusal
from service.deadline import Deadline
from service.errors import Unauthenticated
from service.model import Identity
from tests.callers.certificates import BEGIN, certificate, dns, subject, uri
from tests.callers.house import Hands
from tests.virtual_time import EPOCH

ID: Final = "spiffe://prod.example/ns/crm/sa/sync-worker"
EVERYTHING: Final = certificate(uri(ID), dns("Sync.CRM.svc"), subject=subject("Acme", "sync"))


def cut(size: int) -> bytes:
    """Cut a certificate."""
    return EVERYTHING[:size]


def named(der: bytes, kind: Kind, trust_domain: str | None = None) -> Any:
    """Return the name alone."""
    found = holder_of(der, kind, trust_domain)
    return found.subject if isinstance(found, Holder) else found


class TestHolderOf:
    @pytest.mark.parametrize(
        ("kind", "expected"),
        [(Kind.SPIFFE, ID), (Kind.DNS, "sync.crm.svc"), (Kind.SUBJECT, "CN=sync,O=Acme")],
    )
    def test_reads_the_configured_name(self, kind: Kind, expected: str) -> None:
        """Of several kinds of names the configured one counts; host names are in lower case."""
        assert expected == named(EVERYTHING, kind)

    @pytest.mark.parametrize("kind", Kind)
    def test_dates_come_along(self, kind: Kind) -> None:
        """Its dates are checked with each request, so they are kept."""
        found = holder_of(EVERYTHING, kind)

        assert isinstance(found, Holder)
        assert (BEGIN, BEGIN + timedelta(hours=2)) == (found.not_before, found.not_after)

    @pytest.mark.parametrize(
        ("der", "kind"),
        [
            (certificate(dns("a.example")), Kind.SPIFFE),
            (certificate(uri(ID)), Kind.DNS),
            (certificate(subject=subject("a.example")), Kind.DNS),
            (certificate(x509.RFC822Name("a@a.example")), Kind.DNS),
            (certificate(uri(ID)), Kind.SUBJECT),
            (certificate(), Kind.SPIFFE),
        ],
        ids=["host", "uri", "common name", "mail", "no subject", "nothing"],
    )
    def test_names_of_other_kinds(self, der: bytes, kind: Kind) -> None:
        """A certificate without a name of the kind is not for this authentication."""
        assert named(der, kind) is None

    @pytest.mark.parametrize(
        ("trust_domain", "expected"),
        [("prod.example", ID), ("test.example", None), ("prod.example.evil", None), (None, ID)],
    )
    def test_trust_domain(self, trust_domain: str | None, expected: str | None) -> None:
        """With a trust domain configured, those of others are not for this authentication."""
        assert expected == named(EVERYTHING, Kind.SPIFFE, trust_domain)

    @pytest.mark.parametrize(
        "name", ["*.example", "a..example", "-a.example", "a.example.", "a_b", "a b", ""]
    )
    def test_host_names_are_names(self, name: str) -> None:
        """Wildcards and what is no host name identify nobody."""
        assert Refusal.CERTIFICATE_NAME_REFUSED == named(certificate(dns(name)), Kind.DNS)

    def test_several(self) -> None:
        """Two names of the kind are two identities, and which is meant is not ours to guess."""
        der = certificate(dns("a.example"), dns("b.example"))

        assert Refusal.CERTIFICATE_AMBIGUOUS == named(der, Kind.DNS)

    @pytest.mark.parametrize("kind", Kind)
    def test_authority(self, kind: Kind) -> None:
        """An authority's own certificate is no caller's (X.509-SVID, section 4.1)."""
        der = certificate(uri(ID), dns("a"), subject=subject("a"), is_authority=True)

        assert Refusal.CERTIFICATE_OF_AUTHORITY == named(der, kind)

    def test_no_constraints(self) -> None:
        """A certificate that says nothing about being an authority is none."""
        assert ID == named(certificate(uri(ID), is_authority=None), Kind.SPIFFE)

    def test_subject_parts_cannot_be_forged(self) -> None:
        """A comma inside a part is escaped, so that it is not taken for two parts."""
        assert r"CN=sync\,O=Acme" == named(
            certificate(subject=subject("sync,O=Acme")), Kind.SUBJECT
        )

    @given(st.binary(max_size=64) | st.integers(0, len(EVERYTHING) - 1).map(cut))
    @settings(max_examples=200, deadline=None)
    def test_any_octets(self, der: bytes) -> None:
        """Octets that are no certificate are refused, never an error."""
        assert Refusal.CERTIFICATE_MALFORMED == named(der, Kind.SPIFFE)


class TestMutualTls:
    def test_checks_the_dates_each_time(self) -> None:
        """A connection may outlive its certificate; a request may not."""
        hands = Hands()
        method = MutualTls(name="mesh", kind=Kind.SPIFFE, clock=hands.clock)
        shown, deadline = Credentials(certificate=EVERYTHING), Deadline.after(1, hands.clock)
        proof = method.authenticate(shown, deadline)

        assert proof is not None
        assert Identity(via="mesh", subject=ID) == proof.identity
        assert datetime.fromtimestamp(EPOCH + 3600, UTC) == proof.expires_at
        hands.move(3601)
        with pytest.raises(Unauthenticated) as over:
            method.authenticate(shown, deadline)
        hands.move(-7300)
        with pytest.raises(Unauthenticated) as early:
            method.authenticate(shown, deadline)
        assert [Refusal.EXPIRED, Refusal.NOT_YET_VALID] == [over.value.reason, early.value.reason]

    def test_no_certificate(self) -> None:
        """Without a certificate there is nothing for this authentication."""
        hands = Hands()
        method = MutualTls(name="mesh", kind=Kind.DNS, clock=hands.clock)

        assert method.authenticate(Credentials(), Deadline.after(1, hands.clock)) is None
