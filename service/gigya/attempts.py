"""What an attempt at Gigya sends, a form, and what comes: a reply whose code is 0, or a trouble."""

from typing import Final

from service.gigya.replies import MalformedReply, Reply, parse
from service.gigya.troubles import Troubled, of_reply, of_status
from service.outbound import Answer

FORM: Final = "application/x-www-form-urlencoded"
_REDIRECTS: Final = range(300, 400)


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
