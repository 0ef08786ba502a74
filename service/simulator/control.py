"""The control paths of ``simulate``: knobs and counts over HTTP, for loopback peers alone.

A page in a browser on the same machine cannot use them: they want a loopback ``Host``, and JSON
or DELETE, which a browser asks leave for first.
"""

import ipaddress
import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from starlette.types import Scope

from service.simulator import knob_json
from service.simulator.bodies import Answer
from service.simulator.knobs import NOTHING, Knob, Turned

if TYPE_CHECKING:
    from service.simulator.app import Simulator

PREFIX: Final = "/_simulator/"
LOCAL_NAMES: Final = frozenset({"localhost"})


async def answer(simulator: "Simulator", scope: Scope, body: bytes) -> Answer:
    """Return the answer to one request under ``PREFIX``."""
    if not _is_local(scope):
        return _json(403, {"error": "the control paths are for this machine alone"})
    what = (scope["method"], scope["path"].removeprefix(PREFIX))
    if what not in _PATHS:
        return _json(404, {"error": "no such control path", "paths": [" ".join(p) for p in _PATHS]})
    try:
        return _json(200, _PATHS[what](simulator, _document(scope, body)))
    except (ValueError, TypeError) as error:
        return _json(400, {"error": str(error)})


def _document(scope: Scope, body: bytes) -> Any:
    if scope["method"] != "POST":
        return None
    kind = dict(scope["headers"]).get(b"content-type", b"").partition(b";")[0]
    if kind != b"application/json":
        raise ValueError("send application/json")
    return json.loads(body)


def _turn(simulator: "Simulator", document: Any) -> Any:
    for each in document if isinstance(document, list) else [document]:
        simulator.knobs.turn(knob_json.read(each))
    return _knobs(simulator, None)


def _clear(simulator: "Simulator", _: Any) -> Any:
    simulator.knobs.clear()
    return _knobs(simulator, None)


def _knobs(simulator: "Simulator", _: Any) -> Any:
    return {"knobs": [_shown(turned) for turned in simulator.knobs.in_force]}


def _shown(turned: Turned) -> dict[str, Any]:
    values = {f.name: getattr(turned.knob, f.name) for f in fields(Knob) if f.name != "hold"}
    chosen = {k: v for k, v in values.items() if v != getattr(NOTHING, k)}
    shown = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in chosen.items()}
    return {**shown, "left": turned.left}


def _calls(simulator: "Simulator", _: Any) -> Any:
    calls = simulator.calls
    codes = {str(code): count for code, count in calls.by_code.items()}
    return {"total": calls.total, "by_method": calls.by_method, "by_code": codes}


_PATHS: Final[Mapping[tuple[str, str], Callable[["Simulator", Any], Any]]] = {
    ("GET", "knobs"): _knobs,
    ("POST", "knobs"): _turn,
    ("DELETE", "knobs"): _clear,
    ("GET", "calls"): _calls,
}


def _is_local(scope: Scope) -> bool:
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    peer = (scope.get("client") or ("", 0))[0]
    return _is_loopback(peer) and (name in LOCAL_NAMES or _is_loopback(name.strip("[]")))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _json(status: int, document: Any) -> Answer:
    body = json.dumps(document, indent=2).encode() + b"\n"
    return Answer(status=status, headers={"content-type": "application/json"}, body=body)
