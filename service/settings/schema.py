"""The whole file: every section with its defaults, and the hash that says which one is in use."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field

from service.settings.audit import Audit
from service.settings.authentication import Authentication
from service.settings.callers import Caller
from service.settings.listeners import Listeners, Shutdown
from service.settings.logs import Logging
from service.settings.shapes import Many, Name, Section, Some
from service.settings.sites import Site
from service.settings.tracing import Tracing
from service.settings.upstream import Cache, FrontLimits, Upstream

VERSION: Final = 1


class Settings(Section):
    """Configuration of gigya-credential-proxy; durations are seconds, sizes octets."""

    version: Annotated[int, Field(ge=VERSION, le=VERSION, json_schema_extra={"const": VERSION})]
    """Version of this file's shape."""
    listeners: Listeners = Listeners()
    """Where the process listens."""
    shutdown: Shutdown = Shutdown()
    """How it ends."""
    sites: Annotated[Mapping[Name, Site], Field(min_length=1)]
    """Gigya sites by the names that callers use."""
    authentication: Some[Authentication]
    """The ways in which callers may prove who they are."""
    callers: Many[Caller]
    """Who may have what; reloaded while running."""
    limits: FrontLimits = FrontLimits()
    """Failed authentications that are heard out."""
    upstream: Upstream = Upstream()
    """How Gigya is called."""
    cache: Cache = Cache()
    """Sessions kept in memory."""
    audit: Audit
    """Where records go."""
    logging: Logging = Logging()
    """What is logged."""
    tracing: Tracing = Tracing()
    """Where spans go."""

    def fingerprint(self) -> str:
        """Return the configuration's hash: hex SHA-256 over every value, no file's contents."""
        canonical = json.dumps(
            self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=True
        )
        return hashlib.sha256(canonical.encode()).hexdigest()
