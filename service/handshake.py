"""How TLS begins on an accepted connection, and who is told when it does not.

The handshake is ours to await (``connect_accepted_socket``): a server of asyncio keeps its first
context for ever and drops the reason of what fails.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from service.reception import Hall
from service.tls import alert_of

FAREWELL: Final = 2.0
"""Seconds a peer has to answer our end of TLS."""

CERTIFICATE_FAULTS: Final[Mapping[int, str]] = {
    2: "unknown-ca",
    7: "bad-signature",
    9: "certificate-not-yet-valid",
    10: "certificate-expired",
    18: "unknown-ca",
    19: "unknown-ca",
    20: "unknown-ca",
    21: "unknown-ca",
    24: "bad-chain",
    25: "bad-chain",
    26: "wrong-purpose",
    32: "bad-chain",
    66: "weak-key",
    67: "weak-key",
    68: "weak-signature",
    79: "bad-chain",
}
"""X509_V_ERR_* of OpenSSL's x509_vfy.h, by what an operator would do about it."""

TIMEOUT, CLOSED, OTHER = "timeout", "closed", "other"
BAD_CERTIFICATE, REFUSED_BY_PEER, FAILED = "bad-certificate", "refused-by-peer", "handshake-failed"

NOBODY_CAME: Final = frozenset({CLOSED, TIMEOUT})
"""Handshakes in which nothing was shown, as of a load balancer's probes."""

HANDSHAKE_FAULTS: Final[Mapping[str, str]] = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no-certificate",
    "UNSUPPORTED_PROTOCOL": "protocol-version",
    "NO_PROTOCOLS_AVAILABLE": "protocol-version",
    "VERSION_TOO_LOW": "protocol-version",
    "NO_SHARED_CIPHER": "no-shared-cipher",
    "NO_SUITABLE_KEY_SHARE": "no-shared-cipher",
    "NO_SHARED_GROUPS": "no-shared-cipher",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "no-shared-cipher",
    "BAD_SIGNATURE": "bad-signature",
    "WRONG_VERSION_NUMBER": "not-tls",
    "PACKET_LENGTH_TOO_LONG": "not-tls",
    "BAD_RECORD_TYPE": "not-tls",
    "HTTP_REQUEST": "not-tls",
    "HTTPS_PROXY_REQUEST": "not-tls",
    "UNEXPECTED_EOF_WHILE_READING": CLOSED,
}


REASONS: Final = frozenset(
    {
        *CERTIFICATE_FAULTS.values(),
        *HANDSHAKE_FAULTS.values(),
        BAD_CERTIFICATE,
        TIMEOUT,
        CLOSED,
        OTHER,
        REFUSED_BY_PEER,
        FAILED,
    }
)
"""Every slug there is."""


async def shake(
    accepted: socket.socket,
    connection: Callable[[], asyncio.Protocol],
    context: ssl.SSLContext,
    hall: Hall,
) -> None:
    """Let ``connection`` have an accepted socket, secured; if it cannot be, tell ``hall`` why."""
    client = peer_of(accepted)
    with accepted.dup() as line:
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                connection,
                accepted,
                ssl=context,
                ssl_handshake_timeout=hall.terms.header_timeout,
                ssl_shutdown_timeout=FAREWELL,
            )
        except (OSError, RuntimeError) as error:
            hall.tell("tls-refused", refusal_reason(error), client)
            with suppress(OSError):  # event loops close their handle before the alert is out
                line.send(alert_of(error))
            return
    if transport.get_extra_info("ssl_object") is None:
        hall.tell("tls-refused", CLOSED, client)


def peer_of(accepted: socket.socket) -> tuple[str, int] | None:
    """Return address and port of the peer, unless it has gone."""
    try:
        host, port, *_ = accepted.getpeername()
    except OSError:
        return None
    return host, port


def refusal_reason(error: BaseException) -> str:
    """Return the slug that says why a handshake failed, from what the event loop raised."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CERTIFICATE_FAULTS.get(error.verify_code, BAD_CERTIFICATE)
    if isinstance(error, ssl.SSLError):
        return _slug(error.reason or "")
    if isinstance(error, (TimeoutError, ConnectionAbortedError)):
        return TIMEOUT
    return CLOSED if isinstance(error, OSError) else OTHER


def _slug(reason: str) -> str:
    # "…_ALERT_…" names what the peer sent: it is the one who refuses.
    return HANDSHAKE_FAULTS.get(reason) or (REFUSED_BY_PEER if "_ALERT_" in reason else FAILED)
