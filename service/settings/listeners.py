"""The two doors of the process, and how they close."""

from typing import Annotated

from pydantic import Field

from service.settings.shapes import Count, File, Host, Period, Port, Seconds, Section


class Tls(Section):
    """What the API port shows, and whose client certificates it believes."""

    certificate_file: File
    """PEM: the certificate and its chain."""
    key_file: File
    """PEM: the certificate's private key, not encrypted."""
    client_ca_file: File | None = None
    """PEM: who may sign callers' certificates; with it every caller must show one."""
    max_connection_age: Annotated[float, Field(ge=10, le=86_400)] = 3600
    """Seconds after which a connection is closed, so that a withdrawn trust ends."""


class Api(Section):
    """The port that callers use."""

    host: Host = "0.0.0.0"  # noqa: S104  # a pod has one address, and it is not known beforehand
    """Address to listen at."""
    port: Port = 8080
    """0 takes a free one."""
    header_timeout: Seconds = 10
    """Seconds in which a request's header must have come."""
    body_timeout: Seconds = 10
    """Seconds in which a request's body must have come."""
    idle_timeout: Seconds = 75
    """Seconds that a connection may wait for its next request."""
    max_connections: Count = 2048
    """Connections that are open at once."""
    # Below what one site takes (concurrency and queue): what is refused later has cost its work.
    max_in_flight: Count = 256
    """Requests that are worked on at once; more get 503 at once."""
    tls: Tls | None = None
    """TLS, and with client_ca_file mutual TLS; absent: plain HTTP behind something that has it."""


class Management(Section):
    """The port for health and metrics."""

    host: Host = "0.0.0.0"  # noqa: S104  # as above
    """Address to listen at."""
    port: Port = 9090
    """0 takes a free one."""


class Listeners(Section):
    """Both ports."""

    api: Api = Api()
    """Where callers ask."""
    management: Management = Management()
    """Where the platform asks."""


class Shutdown(Section):
    """How the process ends after SIGTERM."""

    delay: Period = 5
    """Seconds it keeps serving, not ready, until nobody sends it requests any more."""
    drain: Period = 25
    """Seconds in which the requests it has accepted must be answered."""
