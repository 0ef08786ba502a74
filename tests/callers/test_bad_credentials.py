"""Bad credentials get one answer, a true reason in the record, and are told to nobody."""

import base64
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from service.callers.fetching import Answer, FetchFailed
from service.callers.refusals import MEANINGS, Refusal
from service.errors import AuthenticationUnavailable, Unauthenticated
from service.model import Identity
from tests.callers import issuer
from tests.callers.bad import BAD
from tests.callers.house import (
    AUDIENCE,
    CLUSTER,
    OIDC,
    OWN_TOKEN,
    REVIEWED,
    REVIEWS,
    House,
    Net,
    account_claims,
    bearer,
    oidc_claims,
    ok,
)
from tests.callers.issuer import token
from tests.callers.presented import Presented
from tests.virtual_time import EPOCH

SENTINEL: Final = "sentinel-0123456789-abcdefghij"


def chained(error: Exception, *, cause: bool) -> Exception:
    """Return an error with ``error`` behind it."""
    outer = Unauthenticated(Refusal.EXPIRED)
    setattr(outer, "__cause__" if cause else "__context__", error)
    return outer


PLANTS: Final[dict[str, Callable[[], Exception]]] = {
    "message": lambda: ValueError(SENTINEL),
    "argument": lambda: ValueError(1, SENTINEL.encode()),
    "attribute": lambda: Unauthenticated(
        Refusal.EXPIRED, identity=Identity(via=SENTINEL, subject="")
    ),
    "reason": lambda: Unauthenticated(SENTINEL),
    "cause": lambda: chained(ValueError(SENTINEL), cause=True),
    "context": lambda: chained(ValueError(SENTINEL), cause=False),
    "hex": lambda: ValueError(SENTINEL.encode().hex()),
    "base64": lambda: ValueError(base64.b64encode(SENTINEL.encode())),
}

FETCHED: Final = (
    f"{CLUSTER}/.well-known/openid-configuration",
    f"{OIDC}/keys",
)


class TestIdentify:
    @pytest.mark.parametrize(("shown", "reason"), BAD.values(), ids=BAD)
    async def test_refuses_with_the_true_reason(self, shown: Presented, reason: Refusal) -> None:
        """The record gets the true reason; what the caller gets tells nothing of it."""
        with pytest.raises(Unauthenticated) as caught:
            await House().identify(shown)

        assert reason == caught.value.reason
        assert "No credential was given that proves who is calling." == caught.value.detail
        assert caught.value.retry_after is None

    @pytest.mark.parametrize(("shown", "reason"), BAD.values(), ids=BAD)
    async def test_leaks_nothing(
        self, shown: Presented, reason: Refusal, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nothing that was presented is in the error, its chain, its traceback, a log or a repr."""
        caplog.set_level(logging.DEBUG)
        house = House()
        with pytest.raises(Unauthenticated) as caught:
            await house.identify(shown)

        told = [*everything_of(caught.value), *caplog.messages, repr(house.methods)]
        assert reason == caught.value.reason
        assert [] == [form for form in forms(shown) if any(form in text for text in told)]

    @pytest.mark.parametrize("name", PLANTS)
    async def test_would_notice_a_leak(self, name: str) -> None:
        """The search finds a token wherever an error could hold it."""
        shown = bearer(SENTINEL)
        told = everything_of(PLANTS[name]())

        assert any(form in text for text in told for form in forms(shown))

    @pytest.mark.parametrize("fault", [FetchFailed(SENTINEL), OSError(SENTINEL)], ids=repr)
    async def test_unavailable_leaks_nothing(
        self, fault: OSError, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whoever vouches may be away in any words: none of them, and no token, gets out."""
        caplog.set_level(logging.DEBUG)

        def away(_body: bytes | None) -> Answer:
            raise fault

        house = House(net=Net({REVIEWS: away, **dict.fromkeys(FETCHED, away)}))
        shown = [
            bearer(token(account_claims(jti=SENTINEL))),
            bearer(token(account_claims(REVIEWED, jti=SENTINEL))),
            bearer(token(oidc_claims(jti=SENTINEL), issuer.ED25519, alg="EdDSA", kid="ed")),
        ]
        told = [repr(house)]
        for presented in shown:
            with pytest.raises(AuthenticationUnavailable) as caught:
                await house.identify(presented)
            told += everything_of(caught.value)
        told += caplog.messages

        secrets = {SENTINEL, OWN_TOKEN, *(form for one in shown for form in forms(one))}
        assert [] == [secret for secret in secrets if any(secret in text for text in told)]

    def test_every_reason_has_a_meaning(self) -> None:
        """The README's table has a row for each reason."""
        assert list(Refusal) == list(MEANINGS)

    def test_there_are_enough(self) -> None:
        """The corpus covers all reasons but those of the API server, which have tests of theirs."""
        theirs = {Refusal.REVIEW_REFUSED, Refusal.REVIEW_AUDIENCE, Refusal.REVIEW_USER}

        assert set(Refusal) - theirs == {reason for _, reason in BAD.values()}
        assert len(BAD) >= 45


REVIEWED_BAD: Final[dict[str, tuple[dict[str, Any], Refusal]]] = {
    "refused": ({"user": {}, "error": "invalid bearer token"}, Refusal.REVIEW_REFUSED),
    "authenticated false": ({"authenticated": False}, Refusal.REVIEW_REFUSED),
    "authenticated as text": ({"authenticated": "true"}, Refusal.REVIEW_REFUSED),
    "no audiences": ({"authenticated": True}, Refusal.REVIEW_AUDIENCE),
    "other audiences": (
        {"authenticated": True, "audiences": ["https://kubernetes.default.svc"]},
        Refusal.REVIEW_AUDIENCE,
    ),
    "nobody": ({"authenticated": True, "audiences": [AUDIENCE]}, Refusal.REVIEW_USER),
    "a user": (
        {
            "authenticated": True,
            "audiences": [AUDIENCE],
            "user": {"username": "kubernetes-admin", "uid": "bdd8bf28"},
        },
        Refusal.REVIEW_USER,
    ),
    "another account": (
        {
            "authenticated": True,
            "audiences": [AUDIENCE],
            "user": {"username": "system:serviceaccount:crm:other", "uid": "bdd8bf28"},
        },
        Refusal.REVIEW_USER,
    ),
    "the account made anew": (
        {
            "authenticated": True,
            "audiences": [AUDIENCE],
            "user": {"username": "system:serviceaccount:crm:sync-worker", "uid": "other"},
        },
        Refusal.REVIEW_USER,
    ),
}


class TestReviewed:
    @pytest.mark.parametrize(("status", "reason"), REVIEWED_BAD.values(), ids=REVIEWED_BAD)
    async def test_refuses_with_the_true_reason(
        self, status: dict[str, Any], reason: Refusal
    ) -> None:
        """The API server must vouch for this account and for our audience."""
        house = House(net=Net({REVIEWS: ok({"kind": "TokenReview", "status": status}, 201)}))
        with pytest.raises(Unauthenticated) as caught:
            await house.identify(bearer(token(account_claims(REVIEWED))))

        assert reason == caught.value.reason

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"aud": "other"}, Refusal.AUDIENCE_WRONG),
            ({"exp": EPOCH - 60}, Refusal.EXPIRED),
            ({"sub": "system:serviceaccount:crm:other"}, Refusal.NOT_SERVICE_ACCOUNT),
        ],
        ids=["audience", "expired", "account"],
    )
    async def test_is_not_asked_what_is_plain(
        self, changes: dict[str, Any], reason: Refusal
    ) -> None:
        """Shape, issuer, audience and times are checked before the API server is asked."""
        house = House()
        with pytest.raises(Unauthenticated) as caught:
            await house.identify(bearer(token(account_claims(REVIEWED, **changes))))

        assert reason == caught.value.reason
        assert [] == house.net.asked


def forms(shown: Presented) -> Iterator[str]:
    """List the ways to write each secret that was presented; short ones prove nothing."""
    for header in shown.authorization:
        for word in {header, *header.split(), *header.split(b".")}:
            if len(word) >= 8 and word not in {b"Bearer ", b"Authorization"}:
                yield word.decode("latin-1")
                yield repr(word)[2:-1]
                yield word.hex()
                yield base64.b64encode(word).decode()


def everything_of(error: BaseException | None) -> Iterator[str]:
    """Write down an error, what it holds, and what stands behind it."""
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        yield "".join(traceback.format_exception(error))
        error = error.__cause__ or error.__context__
