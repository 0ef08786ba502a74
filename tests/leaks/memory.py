"""Everything that can be reached from an object, and how it shows itself."""

import gc
import sys
import types
import weakref
from collections.abc import Iterator
from contextvars import Context
from typing import Any, Final

from service.audit.fingerprints import AuditKey
from service.callers.credentials import Bearer
from service.gigya.keys import HmacKey, KeyRing, RsaKey
from service.secret import Secret

OPAQUE: Final = (Secret, HmacKey, KeyRing, RsaKey, AuditKey, Bearer)
"""The types that hold secrets; they show nothing, and nothing else may hold any."""

FOREIGN: Final = (type, types.ModuleType, types.CodeType, types.FrameType, Context, weakref.ref)
APART: Final = ("tests.", "service.simulator.", "asyncio.", "uvloop", "_pytest", "anyio", "logging")
"""Where what the test itself knows begins: it holds every sentinel."""


def reachable(root: object) -> Iterator[object]:
    """Yield every object that ``root`` leads to, opaque ones without what is in them."""
    globals_ = {
        id(vars(module)) for module in list(sys.modules.values()) if hasattr(module, "__dict__")
    }
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        each = waiting.pop()
        if id(each) in seen or id(each) in globals_ or _is_apart(each):
            continue
        seen.add(id(each))
        yield each
        waiting += _beyond(each)


def _is_apart(each: object) -> bool:
    return isinstance(each, FOREIGN) or f"{type(each).__module__}.".startswith(APART)


def _beyond(each: object) -> list[Any]:
    if isinstance(each, (*OPAQUE, str, bytes)):
        return []
    if isinstance(each, types.FunctionType):  # its globals are a module's
        return [each.__closure__, each.__defaults__, each.__kwdefaults__, each.__dict__]
    return gc.get_referents(each)


def shown(root: object) -> bytes:
    """Return how our own objects that ``root`` leads to show themselves."""
    ours = (each for each in reachable(root) if _is_ours(each))
    return "\n".join(f"{each!r} {each!s}" for each in ours).encode("utf-8", "backslashreplace")


def _is_ours(each: object) -> bool:
    return f"{type(each).__module__}.".startswith("service.")


def held(root: object) -> bytes:
    """Return every text and all octets that ``root`` leads to, but for what opaque types hold."""
    texts = (each for each in reachable(root) if isinstance(each, (str, bytes, bytearray)))
    return b"\n".join(_octets(each) for each in texts)


def _octets(text: str | bytes | bytearray) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
