"""One attempt at Gigya: a form posted, and a reply whose code is 0, or a trouble by its name."""

from typing import Final

from service.deadline import Deadline
from service.gigya.authentication import Authenticated
from service.gigya.replies import MalformedReply, Reply, parse
from service.gigya.troubles import Trouble, Troubled, of_outbound, of_reply, of_status
from service.outbound import Answer, Outbound, OutboundError

FORM: Final = {"content-type": "application/x-www-form-urlencoded"}
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
            headers={**FORM, **authenticated.headers},
            body=authenticated.form.encode(),
            deadline=deadline,
        )
    except OutboundError as error:
        trouble = of_outbound(error)
    raise Troubled(trouble)


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
