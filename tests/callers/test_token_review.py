"""Asking the API server: how often, for how long, and what if it is away."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from service.callers.fetching import Answer, FetchFailed
from service.callers.key_sets import KeySet
from service.callers.refusals import DETAILS, Refusal, Unavailable
from service.callers.table import identify
from service.callers.token_review import Reviewer, TokenReview
from service.callers.waiting import SEATS
from service.deadline import Deadline
from service.errors import AuthenticationUnavailable, ServiceError
from tests.callers import issuer
from tests.callers.house import (
    API_SERVER,
    AUDIENCE,
    KEYS,
    REVIEWED,
    REVIEWS,
    Directory,
    account_claims,
    bearer,
    cluster_rules,
    review_of,
)
from tests.callers.issuer import token
from tests.virtual_time import EPOCH, VIRTUAL, virtual_clock

NO: Final[Answer] = 201, {}, b'{"kind": "TokenReview", "status": {"user": {}, "error": "invalid"}}'

INVALID: Final = Unavailable.REVIEW_INVALID


class ApiServer:
    """An API server that can refuse, hang and be away."""

    def __init__(self, **reviewer: Any) -> None:
        self.questions: list[tuple[Mapping[str, str], dict[str, Any]]] = []
        self.answer: Answer | BaseException | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.own: Iterator[str] = iter(f"own-token-{number}" for number in range(1000))
        self.events: list[tuple[str, str]] = []
        self.clock = virtual_clock()
        self.method = self.with_keys(None, **reviewer)

    def with_keys(self, keys: KeySet | None, **reviewer: Any) -> TokenReview:
        """Make an authentication that asks this server."""
        return TokenReview(
            name="reviewed",
            local=cluster_rules(REVIEWED),
            reviewer=Reviewer(api_server=API_SERVER + "/", audience=AUDIENCE, **reviewer),
            fetch=self.fetch,
            own_token=lambda: next(self.own),
            clock=self.clock,
            keys=keys,
            observe=lambda _name, event, detail: self.events.append((event, detail)),
        )

    async def fetch(
        self, url: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> Answer:
        """Be asked."""
        assert body is not None
        assert (REVIEWS, False) == (url, deadline.is_past)
        self.questions.append((headers, json.loads(body)))
        await self.gate.wait()
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer or review_of(body)

    async def ask(self, text: str, within: float = 10, *, peer: str = "") -> str:
        """Present a token and say what came of it."""
        deadline, shown = Deadline.after(within, self.clock), bearer(text, peer=peer)
        try:
            caller = await identify([self.method], shown.read(), Directory(), deadline)
        except ServiceError as error:
            return error.reason
        return caller.name


def a_token(number: int = 0, key: issuer.PrivateKey = issuer.P256, **changes: Any) -> str:
    """Make one of many good tokens."""
    return token(account_claims(REVIEWED, jti=str(number), **changes), key)


class TestTokenReview:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        return VIRTUAL

    async def test_asks_as_kubernetes_documents(self) -> None:
        """The token and our audience are posted, with our own token in the header."""
        server, text = ApiServer(), a_token()
        await server.ask(text)

        headers, question = server.questions[0]
        assert "Bearer own-token-0" == headers["authorization"]
        assert {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": text, "audiences": [AUDIENCE]},
        } == question

    async def test_remembers_for_the_stated_time(self) -> None:
        """A good answer is used for ten seconds from when it was asked for, and no longer."""
        server, text = ApiServer(), a_token()
        outcomes = [await server.ask(text)]
        server.answer = NO
        await asyncio.sleep(9.9)
        outcomes.append(await server.ask(text))
        await asyncio.sleep(0.1)
        outcomes.append(await server.ask(text))

        assert ["crm-sync-elsewhere"] * 2 + [Refusal.REVIEW_REFUSED] == outcomes
        assert 2 == len(server.questions)

    async def test_time_counts_from_the_question(self) -> None:
        """A slow answer shortens its own life, so that the bound on revocation holds."""
        server, text = ApiServer(), a_token()
        server.gate.clear()
        task = asyncio.create_task(server.ask(text))
        await asyncio.sleep(2)
        server.gate.set()
        await task
        await asyncio.sleep(8)
        await server.ask(text)

        assert 2 == len(server.questions)

    async def test_remembers_refusals_too(self) -> None:
        """A refused token is refused from memory for as long."""
        server, text = ApiServer(), a_token()
        server.answer = NO
        for _ in range(10):
            assert Refusal.REVIEW_REFUSED == await server.ask(text)
            await asyncio.sleep(1)
        server.answer = None

        assert "crm-sync-elsewhere" == await server.ask(text)
        assert 2 == len(server.questions)

    async def test_no_time_at_all(self) -> None:
        """With a cache of zero seconds each request asks."""
        server, text = ApiServer(cache=0), a_token()
        await server.ask(text)
        await server.ask(text)

        assert 2 == len(server.questions)

    async def test_never_beyond_the_expiry(self) -> None:
        """A token that expires meanwhile is judged again, and refused after the leeway."""
        server, text = ApiServer(cache=100), a_token(exp=EPOCH + 5)
        assert "crm-sync-elsewhere" == await server.ask(text)
        await asyncio.sleep(6)
        await server.ask(text)
        assert 2 == len(server.questions)
        await asyncio.sleep(30)
        assert Refusal.EXPIRED == await server.ask(text)

    async def test_one_question_for_many(self) -> None:
        """Requests with the same token share one question."""
        server, text = ApiServer(), a_token()
        outcomes = await asyncio.gather(*(server.ask(text) for _ in range(30)))

        assert ["crm-sync-elsewhere"] * 30 == outcomes
        assert 1 == len(server.questions)

    async def test_a_flood_of_bad_tokens_forgets_no_good_one(self) -> None:
        """Refusals have a memory of their own."""
        server, text = ApiServer(entries=10), a_token()
        await server.ask(text)
        server.answer = NO
        for number in range(1, 50):
            await server.ask(a_token(number))
        await server.ask(text)

        assert 50 == len(server.questions)

    async def test_a_waiter_that_leaves_takes_nobody_along(self) -> None:
        """The first to ask can be cancelled; the others get its answer."""
        server, text = ApiServer(), a_token()
        server.gate.clear()
        tasks = [asyncio.create_task(server.ask(text)) for _ in range(3)]
        await asyncio.sleep(1)
        tasks[0].cancel()
        await asyncio.sleep(1)
        server.gate.set()

        assert ["crm-sync-elsewhere"] * 2 == await asyncio.gather(*tasks[1:])
        assert tasks[0].cancelled()
        assert 1 == len(server.questions)

    async def test_a_hanging_server_is_given_up(self) -> None:
        """After its timeout the question ends, whatever the fetcher does, and can be put anew."""
        server, text = ApiServer(), a_token()
        server.gate.clear()
        assert Unavailable.REVIEW_UNAVAILABLE == await server.ask(text)
        assert 3.0 == asyncio.get_running_loop().time()
        server.gate.set()

        assert "crm-sync-elsewhere" == await server.ask(text)

    async def test_a_waiter_waits_no_longer_than_its_deadline(self) -> None:
        """A request that has one second left is answered in one second."""
        server, text = ApiServer(), a_token()
        server.gate.clear()

        assert Unavailable.REVIEW_UNAVAILABLE == await server.ask(text, within=1)
        assert 1.0 == asyncio.get_running_loop().time()

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (FetchFailed("unreachable"), Unavailable.REVIEW_UNAVAILABLE),
            ((500, {}, b"{}"), Unavailable.REVIEW_UNAVAILABLE),
            ((503, {}, b""), Unavailable.REVIEW_UNAVAILABLE),
            ((429, {}, b""), Unavailable.REVIEW_UNAVAILABLE),
            ((302, {"location": "https://evil.example"}, b""), Unavailable.REVIEW_UNAVAILABLE),
            ((401, {}, b'{"kind": "Status"}'), Unavailable.REVIEW_FORBIDDEN),
            ((403, {}, b'{"kind": "Status"}'), Unavailable.REVIEW_FORBIDDEN),
            ((201, {}, b""), Unavailable.REVIEW_INVALID),
            ((201, {}, b"[]"), Unavailable.REVIEW_INVALID),
            ((201, {}, b'{"kind": "Status", "status": "Failure"}'), Unavailable.REVIEW_INVALID),
            ((201, {}, b'{"kind": "TokenReview"}'), Unavailable.REVIEW_INVALID),
            ((201, {}, b'{"kind": "TokenReview", "kind": "TokenReview", "status": {}}'), INVALID),
        ],
        ids=str,
    )
    async def test_no_answer_is_no_refusal(
        self, answer: Answer | BaseException, reason: Unavailable
    ) -> None:
        """Whatever is not an answer leaves the credential undecided, and is asked again."""
        server, text = ApiServer(), a_token()
        server.answer = answer
        assert reason == await server.ask(text)
        assert ("review-failed", reason) == server.events[-1]
        server.answer = None

        assert "crm-sync-elsewhere" == await server.ask(text)

    async def test_says_that_the_caller_may_come_back(self) -> None:
        """The caller is told what is away, in our own words, and when to ask again."""
        server = ApiServer()
        server.answer = 403, {}, b'{"message": "serviceaccount cannot create tokenreviews"}'
        deadline = Deadline.after(1, server.clock)
        with pytest.raises(AuthenticationUnavailable) as caught:
            await identify([server.method], bearer(a_token()).read(), Directory(), deadline)

        assert DETAILS[Unavailable.REVIEW_FORBIDDEN] == caught.value.detail
        assert 1.0 == caught.value.retry_after
        assert caught.value.__context__ is None

    async def test_own_token_is_read_anew(self) -> None:
        """Our projected token is read for each question: the kubelet replaces it."""
        server = ApiServer()
        await server.ask(a_token(1))
        await server.ask(a_token(2))

        sent = [headers["authorization"] for headers, _ in server.questions]
        assert ["Bearer own-token-0", "Bearer own-token-1"] == sent

    async def test_own_token_unreadable(self) -> None:
        """Without our own token nobody can be asked, and that is not the caller's fault."""
        server = ApiServer()

        def unreadable() -> str:
            raise FileNotFoundError

        server.own = iter(unreadable, "")

        assert Unavailable.OWN_TOKEN_UNREADABLE == await server.ask(a_token())
        assert [] == server.questions

    @pytest.mark.parametrize("is_one", [False, True], ids=["different tokens", "one token"])
    async def test_a_flood(self, *, is_one: bool) -> None:
        """One peer has half of the seats, whatever it brings, and others are heard meanwhile."""
        server = ApiServer()
        server.gate.clear()
        tokens = [a_token()] * SEATS if is_one else [a_token(number) for number in range(SEATS)]
        tasks = [asyncio.create_task(server.ask(text, peer="one")) for text in tokens]
        await asyncio.sleep(1)
        other = asyncio.create_task(server.ask(a_token(SEATS), peer="other"))
        await asyncio.sleep(1)
        server.gate.set()
        outcomes = await asyncio.gather(*tasks)

        assert (1 if is_one else SEATS // 2) + 1 == len(server.questions)
        assert [Unavailable.REVIEW_OVERLOADED] * (SEATS // 2) == outcomes[SEATS // 2 :]
        assert "crm-sync-elsewhere" == await other

    async def test_a_question_keeps_its_seat(self) -> None:
        """Whoever asks and leaves has not asked less: the seat is free when the answer is there."""
        server = ApiServer()
        server.gate.clear()
        outcomes = [await server.ask(a_token(number), 0.01) for number in range(SEATS)]
        server.gate.set()
        await asyncio.sleep(1)

        assert SEATS // 2 == len(server.questions)
        assert Unavailable.REVIEW_UNAVAILABLE == outcomes[0]
        assert Unavailable.REVIEW_OVERLOADED == outcomes[-1]
        assert "crm-sync-elsewhere" == await server.ask(a_token(SEATS))

    async def test_on_top_of_local_verification(self) -> None:
        """With keys configured, what the issuer did not sign is refused without asking."""

        async def source(_deadline: Deadline) -> bytes:
            return KEYS

        server = ApiServer()
        server.method = server.with_keys(KeySet(source, name="reviewed", clock=server.clock))

        assert Refusal.SIGNATURE_WRONG == await server.ask(a_token(0, issuer.OTHER_P256))
        assert [] == server.questions
        assert "crm-sync-elsewhere" == await server.ask(a_token(0))
        server.answer = NO
        assert Refusal.REVIEW_REFUSED == await server.ask(a_token(1))
