"""What can be done to the body of an answer: each form is a row."""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from service.simulator.knobs import Body


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer as it goes onto the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def with_body(self, body: bytes, **headers: str) -> "Answer":
        """Return the same answer with another body, and some headers more."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Answer(status=self.status, headers={**self.headers, **named}, body=body)


HTML: Final = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
GARBAGE: Final = bytes(range(256)) * 4


def _member(answer: Answer, member: bytes) -> bytes:
    """Put one JSON member before the others."""
    return b"{" + member + b", " + answer.body.lstrip()[1:]


def _text_twice(answer: Answer, _: int) -> Answer:
    return answer.with_body(_member(answer, b'"errorCode": 0, "authToken": "another"'))


def _gzip_bomb(answer: Answer, size: int) -> Answer:
    return answer.with_body(gzip.compress(bytes(size), mtime=0), content_encoding="gzip")


SPOILERS: Final[Mapping[Body, Callable[[Answer, int], Answer]]] = {
    Body.EMPTY: lambda answer, _: answer.with_body(b""),
    Body.GARBAGE: lambda answer, _: answer.with_body(GARBAGE),
    Body.HTML: lambda answer, _: answer.with_body(HTML, content_type="text/html"),
    Body.HUGE: lambda answer, size: answer.with_body(
        _member(answer, b'"padding": "' + b"x" * size + b'"')
    ),
    Body.GZIP: lambda answer, _: answer.with_body(
        gzip.compress(answer.body, mtime=0), content_encoding="gzip"
    ),
    Body.GZIP_BOMB: _gzip_bomb,
    Body.HALF: lambda answer, _: answer.with_body(answer.body[: len(answer.body) // 2]),
    Body.ARRAY: lambda answer, _: answer.with_body(b"[" + answer.body + b"]"),
    Body.NUMBER: lambda answer, _: answer.with_body(b"0"),
    Body.NOT_UTF8: lambda answer, _: answer.with_body(_member(answer, b'"note": "\xff\xfe"')),
    Body.BYTE_ORDER_MARK: lambda answer, _: answer.with_body(b"\xef\xbb\xbf" + answer.body),
    Body.DEEP: lambda answer, _: answer.with_body(
        _member(answer, b'"deep": ' + b"[" * 100_000 + b"]" * 100_000)
    ),
    Body.NAN: lambda answer, _: answer.with_body(_member(answer, b'"note": NaN')),
    Body.DUPLICATE: _text_twice,
}


def spoil(answer: Answer, form: Body | None, size: int) -> Answer:
    """Return ``answer`` as ``form`` has it; ``size`` in octets is for the huge forms."""
    return answer if form is None else SPOILERS[form](answer, size)
