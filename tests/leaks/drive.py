"""Drives every route and every failure with secrets that can be found again."""

import asyncio
import base64
import json
import re
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import httpx
from opentelemetry.sdk.trace import ReadableSpan
from starlette.types import Receive, Scope

from service.api.answers import Endpoint, JsonAnswer
from service.simulator import Authority, Body, Connection, ExpiryForm, Seal, Wire
from service.simulator.calls import Call
from service.simulator.codes import NAMES
from tests.house import NOW, House, Visitor, body, caller, grant, static
from tests.leaks.memory import held, shown
from tests.leaks.sentinels import Chance, core
from tests.observing.spans import traced

JsonObject = dict[str, Any]

KEY_FILES: Final = {
    "partner": "/secrets/partner",
    "user": "/secrets/user",
    "pem": "/secrets/user.pem",
    "audit": "/secrets/audit",
    "proxy": "/secrets/proxy",
}
WAYS: Final = ("bearer", "user_key", "user_key_signed", "signed", "partner_secret", "oauth2")


class Secrets:
    """The sentinels of one run, and the house that is full of them."""

    def __init__(self, directory: Path, seed: int = 0) -> None:
        chance = Chance(seed)
        self.tokens = {
            name: chance.text(name) for name in ("token", "secret", "handle", "providerid")
        }
        self.uid = chance.text("uid", "/+é &%=")
        self.bearers = {
            name: chance.text(f"gcproxy_{name}", "/+.~-_")
            for name in ("crm", "slow", "narrow", "nobody", "expired")
        }
        self.jwt = f"{_part({'alg': 'RS256', 'kid': 'k', 'typ': 'JWT'})}.{_claims(chance)}.AAAA"
        self.proxy = chance.text("egress")
        self.own_token = chance.text("projected", "/+.")
        self.partner, self.user, self.audit, self.access = (chance.octets() for _ in range(4))
        self.signature = chance.text("signature")
        self.proof = chance.text("proof")
        self.house = self._furnished(directory)

    def _furnished(self, directory: Path) -> House:
        house, self.spans = traced(directory)
        gigya = house.gigya
        partner, user, audit = map(_base64, (self.partner, self.user, self.audit))
        key = replace(gigya.site.user_keys[gigya.user_key], secrets=(user,))
        connection = Connection(
            auth_token=self.tokens["token"],
            token_secret=self.tokens["secret"],
            session_handle=self.tokens["handle"],
            provider_uid=self.tokens["providerid"],
            token_expires_at=NOW + 3600,
            session_expires_at=NOW + 7200,
        )
        short = replace(connection, token_expires_at=NOW + 30, session_expires_at=None)
        users = {self.uid: {"google": connection, "twitter": short}, f"{self.uid}-alone": {}}
        for api_key in gigya.world.sites:
            gigya.world.change(
                api_key,
                partner_secrets=(partner,),
                user_keys={gigya.user_key: key},
                users=users,
                empty_fields=True,
            )
        house.files |= {
            KEY_FILES["partner"]: partner.encode(),
            KEY_FILES["user"]: user.encode(),
            KEY_FILES["audit"]: audit.encode(),
            KEY_FILES["proxy"]: f"user:{self.proxy}".encode(),
            "/secrets/ca": Authority().pem,
            "/secrets/own-token": self.own_token.encode(),
        }
        house.settings |= self._settings(house)
        return house

    def _settings(self, house: House) -> JsonObject:
        base = house.settings["sites"]["shop"]
        sites = {way.replace("_", "-"): _site(base, way, house) for way in WAYS}
        every = [grant(site=site) for site in sites]
        tokens = [static(name, token) for name, token in self.bearers.items() if name != "nobody"]
        tokens[-1]["expires"] = "2027-01-15T08:30:00Z"
        issuer = {"issuer": "https://issuer.example.com", "ca_file": "/secrets/ca"}
        return {
            "sites": sites,
            "authentication": [
                {"name": "tokens", "method": "static", "tokens": tokens},
                {
                    "name": "cluster",
                    "method": "jwt",
                    "kind": "oidc",
                    "audiences": ["proxy"],
                    "keys": {"discovery": True},
                    **issuer,
                },
                {
                    "name": "reviewed",
                    "method": "token_review",
                    "audience": "proxy",
                    "token_file": "/secrets/own-token",
                    **issuer,
                    "issuer": "https://kubernetes.example.com",
                },
            ],
            "callers": [
                caller(
                    "crm",
                    *every,
                    candidate_grants=[grant("authToken", site="bearer")],
                    limits={"in_flight": 9},
                ),
                caller("slow", grant(site="bearer"), limits={"rate": 0.001, "burst": 1}),
                caller("narrow", grant("authToken", site="bearer", providers=["google"])),
                caller("expired", grant(site="bearer", user_proof="uid_signature")),
            ],
            "cache": {"enabled": True, "ttl": 60},
            "upstream": {
                "attempts": 1,
                "breaker": {"failures": 10_000},
                "proxy_url": "http://egress.example.com:3128",
                "proxy_credentials_file": KEY_FILES["proxy"],
            },
            "listeners": {"api": {"body_timeout": 0.1, "max_in_flight": 4}},
        }

    def sentinels(self) -> Mapping[str, bytes]:
        """Return everything that must not get out, by name."""
        texts = {
            **self.tokens,
            **{f"bearer of {name}": token for name, token in self.bearers.items()},
            "uid": self.uid,
            "expected signature": self.signature,
            "proof": self.proof,
            "own token": self.own_token,
            "proxy's password": self.proxy,
            "JWT": self.jwt,
            "JWT's claims": self.jwt.split(".")[1],
            **dict(self._of_calls()),
        }
        cores = {f"core of {k}": core(v) for k, v in texts.items() if _HAS_CORE.search(v)}
        octets = {"partner secret": self.partner, "user secret": self.user, "audit key": self.audit}
        encoded = {f"{k} in base64": _base64(v) for k, v in octets.items()}
        everything = {**texts, **cores, **encoded, **dict(self._of_pem())}
        return {**octets, **{name: text.encode() for name, text in everything.items()}}

    def calls(self) -> list[Call]:
        """Return the calls of Gigya's methods: issuers are asked here too, and answer badly."""
        kept = self.house.simulator.calls.kept
        return [call for call in kept if call.method.startswith("socialize.")]

    def _of_calls(self) -> Iterator[tuple[str, str]]:
        """Yield what proved us to Gigya, as it went over the wire."""
        calls = self.calls()
        for at, call in enumerate([*calls[:30], *calls[30::10]]):
            for name in ("sig", "oauth_token"):
                if value := call.get(name):
                    yield f"{name} of call {at}", value
            if credential := call.headers.get("authorization"):
                yield f"authorization of call {at}", credential.partition(" ")[2]

    def _of_pem(self) -> Iterator[tuple[str, str]]:
        lines = self.house.files[KEY_FILES["pem"]].decode().splitlines()
        yield from ((f"line {at} of the RSA key", line) for at, line in enumerate(lines[2:-2]))
        numbers = self.house.gigya.private_key.private_numbers()
        yield from (("RSA d", str(numbers.d)), ("RSA p", str(numbers.p)), ("RSA q", str(numbers.q)))


_HAS_CORE: Final = re.compile("[0-9a-f]{24}$")


def _site(base: JsonObject, way: str, house: House) -> JsonObject:
    is_old = way in {"signed", "partner_secret"}
    current: JsonObject = {"method": way}
    if not is_old:
        current["user_key"] = house.gigya.user_key
    if way == "bearer":
        current["key_file"] = KEY_FILES["pem"]
    else:
        current["secret_file"] = KEY_FILES["partner" if is_old else "user"]
    api_key = house.gigya.legacy_api_key if is_old else house.gigya.api_key
    return {**base, "api_key": api_key, "authentication": {"current": current}}


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _part(document: JsonObject) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def _claims(chance: Chance) -> str:
    return _part(
        {
            "iss": "https://issuer.example.com",
            "aud": "proxy",
            "sub": chance.text("subject"),
            "exp": NOW + 3600,
            "iat": NOW,
        }
    )


@dataclass
class Seen:
    """What came out of the service, by place."""

    answers: list[str] = field(default_factory=list)
    released: list[JsonObject] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    metrics: list[bytes] = field(default_factory=list)
    shown: list[bytes] = field(default_factory=list)
    held: list[bytes] = field(default_factory=list)

    def answered(self, answer: httpx.Response) -> None:
        """Keep an answer; of a release all but what it is for."""
        document = answer.json()
        if answer.status_code == httpx.codes.OK and "tokens" in document:
            names = ("tokens", "provider_uid")
            self.released.append({name: document.pop(name, None) for name in names})
        self.answers += [
            json.dumps(document, ensure_ascii=False),
            answer.text * ("code" in document),
        ]
        self.answers += [f"{name}: {value}" for name, value in answer.headers.multi_items()]

    def raised(self, error: BaseException) -> None:
        """Keep how an error and its causes show themselves, and every text that they hold."""
        self.errors += traceback.format_exception(error)
        each: BaseException | None = error
        while each is not None:
            self.errors += [str(each), repr(each), repr(vars(each)), repr(each.args)]
            self.errors.append(held([each.args, vars(each)]).decode("utf-8", "backslashreplace"))
            each = each.__cause__ or each.__context__


class Spy:
    """Stands inside the audit layer, sees what is raised, and can raise by itself."""

    def __init__(self, app: Endpoint, seen: Seen) -> None:
        self._app = app
        self._seen = seen
        self.bug: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive) -> JsonAnswer:
        """Serve."""
        if self.bug is not None:
            raise self.bug
        try:
            return await self._app(scope, receive)
        except BaseException as error:
            self._seen.raised(error)
            raise


Layer = Callable[[Endpoint, "Drive"], Endpoint]


class Drive:
    """One run: a house, what was seen of it, and whoever spoils it."""

    def __init__(self, secrets: Secrets, *, layer: Layer | None = None) -> None:
        self.secrets = secrets
        self.house = secrets.house
        self.seen = Seen()
        self.visitor: Visitor
        self.spy: Spy
        self.roots: list[object] = []
        """Where the search of memory begins: the service, and what a plant keeps."""
        self._layer = layer

    async def run(self, scenes: Mapping[str, Callable[["Drive"], Awaitable[None]]]) -> None:
        """Open the house, play the scenes, look into every corner."""
        async with self.house.open() as self.visitor:
            recording: Any = self.visitor.application.api
            if self.house.tracer is not None:
                recording = recording._app  # the request's span is around everything
            self.roots += [self.visitor.application, recording._app]
            if self._layer is not None:
                recording._app = self._layer(recording._app, self)
            recording._app = self.spy = Spy(recording._app, self.seen)
            for play in scenes.values():
                await play(self)
                self.house.simulator.knobs.clear()
            self.look(at_rest=True)
            for path in ("/metrics", "/readyz", "/livez", f"/{core(self.secrets.uid)}"):
                self.seen.metrics.append((await self.visitor.manage(path)).content)

    def look(self, *, at_rest: bool) -> None:
        """See how everything in memory shows itself; at rest, also what texts there are."""
        self.seen.shown.append(shown(self.roots))
        if at_rest:
            self.seen.held.append(held(self.roots))

    def places(self) -> Mapping[str, bytes]:
        """Return everything that came out, by place."""
        audit = b"".join(path.read_bytes() for path in self.house.directory.iterdir())
        return {
            "answers": "\n".join(self.seen.answers).encode(),
            "errors": "\n".join(self.seen.errors).encode("utf-8", "backslashreplace"),
            "log": self.house.log.getvalue().encode(),
            "metrics": b"\n".join(self.seen.metrics),
            "audit": audit,
            "repr": b"\n".join(self.seen.shown),
            "spans": "\n".join(map(_whole, self.secrets.spans.spans)).encode(),
        }

    async def ask(self, **members: Any) -> httpx.Response:
        """Ask as the caller that may have everything, and keep the answer."""
        token = members.pop("token", self.secrets.bearers["crm"])
        asked = {"uid": self.secrets.uid, "provider": "google", "site": "bearer", **members}
        answer = await self.visitor.ask(token=token, **asked)
        self.seen.answered(answer)
        return answer

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send anything, and keep the answer."""
        answer = await self.visitor.request(method, path, **options)
        self.seen.answered(answer)
        return answer

    @property
    def authorized(self) -> dict[str, str]:
        """The header of the caller that may have everything."""
        return {"authorization": f"Bearer {self.secrets.bearers['crm']}"}


def _whole(span: ReadableSpan) -> str:
    """Return all that a collector gets of a span, as it is and in JSON: escapes differ."""
    told = (
        span.name,
        span.status.description,
        dict(span.attributes or {}),
        [(event.name, dict(event.attributes or {})) for event in span.events],
        [(link.context, dict(link.attributes or {})) for link in span.links],
        dict(span.resource.attributes),
    )
    return f"{told}\n{span.to_json()}"


async def releases(drive: Drive) -> None:
    for way in WAYS:
        for more in ({"max_age": 0}, {}, {"verify_provider_uid": True}):
            await drive.ask(site=way.replace("_", "-"), **more)
    await drive.ask(fields=["oauth_token"], context="mine", cid="campaign")
    await drive.ask(provider="twitter")
    await drive.ask(token=drive.secrets.bearers["narrow"])
    for path in ("/v1/grants", "/v1/providers", "/openapi.json"):
        await drive.request("GET", path, headers=drive.authorized)


async def gigyas_codes(drive: Drive) -> None:
    secrets = drive.secrets
    everything = " ".join((*secrets.tokens.values(), secrets.uid, secrets.signature))
    members = {
        **dict.fromkeys(("errorDetails", "errorMessage", "baseString", "location"), everything),
        "expectedSignature": secrets.signature,
        "apiDomain": secrets.signature,
        "callId": secrets.tokens["token"],
        "ignoredParams": [{"paramName": secrets.tokens["token"], "warningCode": 403007}],
    }
    for code in (*NAMES, 123456):
        turned = drive.house.simulator.knobs.turn(error_code=code or None, members=members)
        for site in ("bearer", "user-key-signed", "oauth2"):
            await drive.ask(max_age=0, site=site)
        drive.house.simulator.knobs.undo(turned)
        drive.house.time.now += 2  # what failed just now is remembered for a second


async def gigyas_replies(drive: Drive) -> None:
    secrets = drive.secrets
    page = {"content-type": "text/html", "location": f"https://evil.example/{secrets.signature}"}
    knobs: tuple[JsonObject, ...] = (
        *({"seal": seal} for seal in Seal),
        *({"body": form} for form in Body),
        *({"wire": wire} for wire in Wire if wire is not Wire.SILENCE),
        *({"http_status": status, "headers": page} for status in (301, 404, 429, 500, 503)),
        *({"http_status": s, "body": Body.HTML, "headers": page} for s in (301, 404, 429, 500)),
        {"ignores": frozenset({"encrypt", "signIDs"})},
        {"context": secrets.tokens["token"]},
        {"expiry_form": ExpiryForm.GARBAGE},
        {"members": {"tokenExpirationUTC": secrets.tokens["token"]}},
        {"members": {"authToken": None}},
        {"members": {"authToken": [secrets.tokens["token"]]}},
        {"members": {"errorCode": secrets.tokens["token"]}},
        {"members": {"providerUIDSig": secrets.signature, "timestamp": secrets.signature}},
    )
    for knob in knobs:
        drive.house.simulator.knobs.turn(**knob)
        await drive.ask(max_age=0)
        await drive.ask(max_age=0, verify_provider_uid=True, site="oauth2")
        drive.house.simulator.knobs.clear()
        drive.house.time.now += 2


async def bad_bodies(drive: Drive) -> None:
    secrets = drive.secrets
    text = " ".join((secrets.uid, *secrets.tokens.values()))
    good = {"uid": secrets.uid, "provider": "google", "site": "bearer"}
    documents = [
        *({**good, name: text} for name in ("provider", "site", "min_ttl", "max_age", text)),
        *({**good, name: text} for name in ("uid_signature", "verify_provider_uid", "fields")),
        {**good, "fields": [text]},
        {**good, "uid": f"{text}\n"},
        {**good, "cid": text * 9},
        {**good, "uid_signature": {"timestamp": "1", "signature": text, text: 1}},
        {**good, "context": text * 99, "min_ttl": -1},
    ]
    bodies = [
        *(json.dumps(document).encode() for document in documents),
        text.encode(),
        json.dumps(good).encode()[:-3],
        json.dumps(good).encode() + b"\xff",
        json.dumps(text * 200).encode(),
        (json.dumps(good)[:-1] + ', "uid": 1}').encode(),
    ]
    for octets in bodies:
        lines = {**drive.authorized, "content-type": "application/json"}
        await drive.request("POST", "/v1/provider-tokens", content=octets, headers=lines)
        lines["content-type"] = core(secrets.uid)
        await drive.request("POST", "/v1/provider-tokens", content=octets, headers=lines)
    await drive.ask(headers={"request-timeout": core(secrets.uid)})
    await drive.ask(headers={"traceparent": secrets.bearers["crm"]})


async def other_routes(drive: Drive) -> None:
    text = core(drive.secrets.tokens["token"])
    for method in ("GET", "DELETE", text.upper()):
        await drive.request(method, f"/{text}?{text}={text}", headers=drive.authorized)
        await drive.request(method, f"/v1/provider-tokens?{text}", headers=drive.authorized)


async def bad_credentials(drive: Drive) -> None:
    secrets = drive.secrets
    forged = f"{_part({'alg': 'none'})}.{secrets.jwt.split('.')[1]}."
    other = f"{secrets.jwt.split('.')[0]}.{_service_account(secrets)}.AAAA"
    crm, nobody = secrets.bearers["crm"], secrets.bearers["nobody"]
    for value in (
        *(f"Bearer {token}" for token in (nobody, crm + "x", secrets.jwt, forged, other)),
        f"Bearer {nobody * 400}",
        f"Basic {_base64(crm.encode())}",
        crm,
        f"{crm} {crm}",
    ):
        await drive.request("GET", "/v1/grants", headers={"authorization": value})
    lines = [("authorization", f"Bearer {crm}"), ("authorization", f"Bearer {nobody}")]
    await drive.request("GET", "/v1/grants", headers=lines)
    drive.house.time.now += 3600
    await drive.ask(token=secrets.bearers["expired"])
    drive.house.time.now -= 3600


async def refusals(drive: Drive) -> None:
    secrets = drive.secrets
    proof = {"timestamp": str(int(NOW)), "signature": secrets.proof}
    drive.house.time.now = NOW
    await drive.ask(token=secrets.bearers["expired"], uid_signature=proof)
    await drive.ask(token=secrets.bearers["narrow"], fields=["oauth_token_secret"])
    await drive.ask(token=secrets.bearers["narrow"], provider="twitter")
    await drive.ask(token=secrets.bearers["slow"])
    await drive.ask(token=secrets.bearers["slow"])
    await drive.ask(provider="twitter", min_ttl=100)
    await drive.ask(uid=f"{secrets.uid}-alone")
    await drive.ask(uid=f"{secrets.uid}-unknown")


async def silence(drive: Drive) -> None:
    lines = {**drive.authorized, "content-length": "99"}
    half = body(drive.secrets.uid.encode(), more=True)
    await drive.visitor.exchange(half, headers=lines)
    await drive.visitor.exchange(half, {"type": "http.disconnect"}, headers=lines)


async def in_flight(drive: Drive) -> None:
    """See how everything shows itself while Gigya is asked; then be cancelled."""
    hold = asyncio.Event()
    arrived = drive.house.simulator.calls.total + 4
    drive.house.simulator.knobs.turn(hold=hold)
    sites = ("bearer", "user-key", "user-key-signed", "partner-secret")
    tasks = [asyncio.create_task(drive.ask(max_age=0, site=site)) for site in sites]
    await drive.house.simulator.calls.arrive(arrived)
    drive.look(at_rest=False)
    await drive.ask(site="signed")  # one too many
    for task in tasks[:3]:
        task.cancel()
    for task in tasks[:3]:
        with suppress(asyncio.CancelledError):
            await task
    hold.set()
    await tasks[3]


async def bugs(drive: Drive) -> None:
    """Have a fault of ours whose error holds everything."""
    secrets = drive.secrets
    text = " ".join((*secrets.tokens.values(), *secrets.bearers.values(), secrets.uid))
    drive.spy.bug = RuntimeError(text, {"token": text})
    await drive.ask()
    drive.spy.bug = None


async def reloads(drive: Drive) -> None:
    """Make files faulty, by a secret in the wrong place among other ways."""
    secrets, files = drive.secrets, drive.house.files
    kept = dict(files)
    token, uid = secrets.tokens["token"], secrets.uid
    drive.house.settings["callers"][0]["limits"] = {"rate": token, "burst": uid}
    drive.house.settings["sites"]["bearer"]["api_key"] = token
    drive.house.settings["logging"]["level"] = secrets.signature
    drive.house.write_configuration()
    for path in KEY_FILES.values():
        files[path] = files[path][:-9] + f"!{token}".encode()
    await drive.visitor.look()
    await drive.ask()
    files.clear()
    await drive.visitor.look()
    files |= kept
    await drive.visitor.look()


async def the_end(drive: Drive) -> None:
    drive.visitor.application.lifecycle.refuse()
    await drive.ask()


def _service_account(secrets: Secrets) -> str:
    return _part(
        {
            "iss": "https://kubernetes.example.com",
            "aud": ["proxy"],
            "sub": f"system:serviceaccount:{core(secrets.uid)}:{core(secrets.proof)}",
            "exp": NOW + 3600,
            "iat": NOW,
            "nbf": NOW,
        }
    )


SCENES: Final[Mapping[str, Callable[[Drive], Awaitable[None]]]] = {
    "releases": releases,
    "Gigya's codes": gigyas_codes,
    "Gigya's replies": gigyas_replies,
    "bad bodies": bad_bodies,
    "other routes": other_routes,
    "bad credentials": bad_credentials,
    "refusals": refusals,
    "silence": silence,
    "in flight": in_flight,
    "bugs": bugs,
    "reloads": reloads,
    "the end": the_end,
}
