"""Replies as text: the envelope, and JSON, JSONP and XML of it (facts.md §1.4, §1.5)."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from xml.sax.saxutils import escape

from service.simulator import expiries
from service.simulator.codes import Refusal, name_of, reason_of, status_of

UNKNOWN_PARAMETER: Final = (
    "This parameter was not recognized as valid for this API method with your security credentials "
    "nor was it recognized as a standard Gigya control parameter."
)
_NO_XML_CHARACTER: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def success(fields: Mapping[str, Any], *, call_id: str, now: float) -> dict[str, Any]:
    """Return the reply of a call that went well."""
    return {**fields, **_generic(0, call_id=call_id, now=now)}


def failure(refusal: Refusal, *, call_id: str, now: float) -> dict[str, Any]:
    """Return the reply of a call that Gigya refuses."""
    words = {"errorMessage": name_of(refusal.code), "errorDetails": refusal.details}
    return {**words, **_generic(refusal.code, call_id=call_id, now=now), **refusal.more}


def ignored(names: list[str]) -> dict[str, Any]:
    """Return ``ignoredParams`` for ``names``, or nothing if there are none."""
    entries = [
        {"paramName": name, "warningCode": 403007, "message": UNKNOWN_PARAMETER} for name in names
    ]
    return {"ignoredParams": entries} if entries else {}


def _generic(code: int, *, call_id: str, now: float) -> dict[str, Any]:
    status = status_of(code)
    return {
        "statusCode": status,
        "errorCode": code,
        "statusReason": reason_of(status),
        "callId": call_id,
        "apiVersion": 2,
        "time": expiries.iso(now),
    }


def as_json(_: str, reply: Mapping[str, Any]) -> bytes:
    """Return ``reply`` as JSON."""
    return json.dumps(reply, ensure_ascii=False).encode("utf-8", "surrogatepass")


def as_xml(method: str, reply: Mapping[str, Any]) -> bytes:
    """Return ``reply`` as the XML of 2009: camelCase children of ``<method>Response``."""
    root = f"{method}Response"
    children = "".join(_element(name, value) for name, value in reply.items())
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<{root} xmlns="urn:com:gigya:api" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:schemaLocation="urn:com:gigya:api http://socialize.api.gigya.com/schema">'
        f"{children}</{root}>\n"
    ).encode()


def _element(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        inner = "".join(_element(k, v) for k, v in value.items())
    elif isinstance(value, list):
        inner = "".join(_element(name.removesuffix("s"), item) for item in value)
    else:
        inner = escape(_NO_XML_CHARACTER.sub("\ufffd", str(value)))
    return f"<{name}>{inner}</{name}>"


def jsonp(callback: str) -> Callable[[str, Mapping[str, Any]], bytes]:
    """Return the writer of ``callback({…});``."""
    return lambda method, reply: callback.encode() + b"(" + as_json(method, reply) + b");"


Writer = Callable[[str, Mapping[str, Any]], bytes]
JSON: Final[tuple[str, Writer]] = ("application/json; charset=utf-8", as_json)
XML: Final[tuple[str, Writer]] = ("text/xml; charset=utf-8", as_xml)


def writer(asked: str | None, callback: str | None) -> tuple[str, Writer]:
    """Return content type and writer for ``format``; an unknown one is 400006."""
    if asked == "jsonp" and callback:
        return "text/javascript; charset=utf-8", jsonp(callback)
    formats = {None: JSON, "json": JSON, "xml": XML}
    if asked not in formats:
        raise Refusal(400006, "Invalid parameter value : format")
    return formats[asked]
