"""The way to Gigya and what guards it: budgets, retries, breaker, cache, the front's limits."""

from typing import Annotated

from pydantic import Field

from service.settings.shapes import Count, File, Origin, Period, Seconds, Section


class Breaker(Section):
    """When a site's calls are stopped for a while, and for how long."""

    failures: Count = 10
    """Failures within the window that open it."""
    window: Seconds = 30
    """Seconds that failures count."""
    cool_down: Seconds = 5
    """Seconds until one call is let through to see."""


class Upstream(Section):
    """How Gigya is called, for each site."""

    deadline: Annotated[float, Field(gt=0, le=300)] = 10
    """Seconds that a request has in all: queue, connection, retries, audit."""
    connect: Annotated[float, Field(gt=0, le=60)] = 3
    """Seconds that a connection may take, TLS included."""
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Calls to Gigya at once."""
    queue: Annotated[int, Field(ge=0, le=100_000)] = 256
    """Calls that may wait for their turn."""
    per_uid: Annotated[int, Field(ge=1, le=5)] = 5
    """Calls at once for the same user; Gigya refuses more than 5."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    """Calls for one request, the first included."""
    retry_budget: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of calls that may be retries."""
    response_cap: Annotated[int, Field(ge=4096, le=16_777_216)] = 65_536
    """Octets beyond which a reply is refused."""
    proxy_url: Origin | None = None
    """HTTP proxy on the way to Gigya."""
    proxy_credentials_file: File | None = None
    """user:password for that proxy, sent to it alone (Basic)."""
    ca_file: File | None = None
    """PEM: whose certificates are believed instead of the built-in roots."""
    breaker: Breaker = Breaker()
    """When calls are stopped for a while."""


class Cache(Section):
    """Sessions kept in memory for a while; off unless switched on."""

    enabled: bool = False
    """Whether sessions are kept at all."""
    ttl: Annotated[float, Field(gt=0, le=3600)] = 60
    """Seconds that a session is kept."""
    margin: Period = 60
    """Seconds before its earliest expiry at which it is dropped."""
    entries: Count = 10_000
    """Sessions that are kept."""
    bytes: Annotated[int, Field(ge=1024, le=17_179_869_184)] = 67_108_864
    """Octets that they may take."""


class Allowance(Section):
    """A rate with room for a burst."""

    rate: Annotated[float, Field(gt=0, le=1_000_000)]
    """A second, in the long run."""
    burst: Count
    """At once beyond the rate."""


class FrontLimits(Section):
    """Failed authentications that are heard out before anyone is known, for each replica."""

    per_peer: Allowance = Allowance(rate=50, burst=200)
    """From one address."""
    all_peers: Allowance = Allowance(rate=500, burst=2000)
    """From all together."""
