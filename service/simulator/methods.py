"""The methods this Gigya has, and the order in which it finds fault with a call to one."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from service.simulator import authentication, get_token, rendering, session_info
from service.simulator.authentication import Authenticated, Desk
from service.simulator.calls import Call
from service.simulator.codes import Refusal
from service.simulator.knobs import Knob
from service.simulator.memory import AccessTokens, InFlight, Meter, Once
from service.simulator.session_info import Question
from service.simulator.world import DATA_CENTERS, GET_SESSION_INFO, GET_TOKEN, Site, World

CONTROL: Final = frozenset(
    {
        "apikey",
        "userkey",
        "secret",
        "sig",
        "nonce",
        "timestamp",
        "oauth_token",
        "format",
        "callback",
        "httpstatuscodes",
        "checkparams",
        "sdk",
        "context",
    }
)
"""The standard control parameters, in lower case: names match whatever their case."""

OWN: Final[Mapping[str, frozenset[str]]] = {
    GET_SESSION_INFO: frozenset(
        {"uid", "provider", "paddingmode", "encrypt", "encryptall", "signids", "cid"}
    ),
    GET_TOKEN: frozenset(
        {"grant_type", "client_id", "client_secret", "x_siteuid", "x_sessionexpiration"}
    ),
}
"""The parameters of each method, in lower case."""

UNKNOWN: Final = (
    "These parameters were not recognized as valid for this API method with your security "
    "credentials nor were they recognized as standard Gigya control parameters: "
)


class Methods:
    """Answers calls by the rules of a ``World``."""

    def __init__(
        self,
        world: World,
        tokens: AccessTokens,
        in_flight: InFlight,
        *,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._world = world
        self._tokens = tokens
        self._in_flight = in_flight
        self._clock = clock
        self._entropy = entropy
        self._once = Once()
        self._meter = Meter()

    def answer(self, call: Call, knob: Knob) -> dict[str, Any]:
        """Return the fields of a good reply; raises ``Refusal`` or ``OAuthRefusal``."""
        if call.method not in OWN:
            raise Refusal(405001, "Invalid API method")
        if call.method == GET_TOKEN:
            return self._get_token(call, knob)
        caller = self._admit(call, knob)
        _forced(knob)
        return session_info.answer(self._question(call, knob, caller))

    def remarks(self, call: Call, knob: Knob, reply: Mapping[str, Any]) -> dict[str, Any]:
        """Return what every reply may carry: the parameters ignored, and the context echoed."""
        names = [] if "error" in reply else self._ignored(call, knob)
        echo = call.get("context") if knob.context is None else knob.context
        return {**rendering.ignored(names), **({"context": echo} if echo else {})}

    def _get_token(self, call: Call, knob: Knob) -> dict[str, Any]:
        _forced(knob)
        now = self._clock()
        return get_token.answer(call, self._world, self._tokens, now=now, entropy=self._entropy)

    def _admit(self, call: Call, knob: Knob) -> Authenticated:
        now = self._clock()
        if site := self._world.sites.get(self.api_key_of(call) or ""):
            self._check_data_center(call, site)
            self._meter.count(site.api_key, now=now, most=site.calls_per_second)
        if call.is_true("checkParams") and (names := self._ignored(call, knob)):
            raise Refusal(403007, UNKNOWN + names[0])
        desk = Desk(once=self._once, tokens=self._tokens, now=now)
        return authentication.authenticate(call, self._world, desk)

    def api_key_of(self, call: Call) -> str | None:
        """Return the API key that a call is about, named or behind its access token."""
        named = call.get("apiKey") or call.get("client_id")
        return named or self._tokens.owner(authentication.access_token(call))

    def _check_data_center(self, call: Call, site: Site) -> None:
        asked = next((d for d in DATA_CENTERS if call.host.endswith(f".{d}")), None)
        if site.data_center != (asked or self._world.data_center):
            where = f"https://socialize.{site.data_center}/{call.method}"
            raise Refusal(301001, "Invalid data center", apiDomain=site.data_center, location=where)

    def _question(self, call: Call, knob: Knob, caller: Authenticated) -> Question:
        uid = caller.uid or call.need("UID")
        if self._in_flight.counts[caller.site.api_key, uid] > caller.site.concurrent_per_uid:
            raise Refusal(409030, "Too many concurrent requests for the same user")
        return Question(
            call=call,
            site=caller.site,
            uid=uid,
            knob=knob,
            ignored=caller.site.ignores | knob.ignores,
            now=self._clock(),
            entropy=self._entropy,
        )

    def _ignored(self, call: Call, knob: Knob) -> list[str]:
        site = self._world.sites.get(self.api_key_of(call) or "")
        blind = knob.ignores | (site.ignores if site else frozenset())
        known = (CONTROL | OWN.get(call.method, frozenset())) - {name.lower() for name in blind}
        return [name for name in call.parameters if name.lower() not in known]


def _forced(knob: Knob) -> None:
    if knob.error_code is not None:
        raise Refusal(knob.error_code, "A knob of the simulator says so")
