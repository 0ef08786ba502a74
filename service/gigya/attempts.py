"""One attempt at Gigya: a form posted, and a reply whose code is 0, or a trouble by its name."""

from typing import Final

from service.deadline import Deadline
from service.gigya.authentication import Authenticated
from service.gigya.replies import MalformedReply, Reply, parse
from service.gigya.signature import encoded_form
from service.gigya.troubles import Trouble, Troubled, of_outbound, of_reply, of_status
from service.outbound import Answer, Outbound, OutboundError

FORM: Final = "application/x-www-form-urlencoded"
_REDIRECTS: Final = range(300, 400)


async def post(
    outbound: Outbound, url: str, authenticated: Authenticated, *, deadline: Deadline
) -> Answer:
    """Return the answer to a form posted to ``url``; raises ``Troubled``."""
    trouble: Trouble
    try:
        return await outbound.send(
            "POST",
            url,
            headers=authenticated.headers,
            content_type=FORM,
            body=form(authenticated),
            deadline=deadline,
        )
    except OutboundError as error:
        trouble = of_outbound(error)
    raise Troubled(trouble)


def form(authenticated: Authenticated) -> bytes:
    """Return what is posted, URL-encoded as UTF-8 and by RFC 3986, as it was signed."""
    pairs = authenticated.signed or encoded_form(authenticated.params)
    return "&".join([f"{name}={value}" for name, value in pairs.items()]).encode()


def read(answer: Answer) -> Reply:
    """Return the reply in ``answer``, whose code is 0; raises ``Troubled``.

    The status decides nothing where Gigya itself speaks: ``httpStatusCodes=false`` is asked for.
    """
    try:
        reply = parse(answer.body)
    except MalformedReply:
        reply = None
    if reply is None or answer.status in _REDIRECTS:
        raise Troubled(of_status(answer))
    if reply.error_code != 0:
        raise Troubled(of_reply(reply, answer))
    return reply
