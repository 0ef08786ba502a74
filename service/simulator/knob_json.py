"""Knobs as JSON, for the control paths and the command line."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from service.simulator.expiries import ExpiryForm
from service.simulator.knobs import Body, Knob, Seal, Wire
from service.simulator.signing import ProviderUidForm


def read(document: Any) -> Knob:
    """Return the knob that ``document`` describes by attribute names; raises ``ValueError``."""
    if not isinstance(document, dict) or not set(document) <= set(_READ):
        raise ValueError(f"a knob is an object of some of: {', '.join(sorted(_READ))}")
    return Knob(**{name: _READ[name](value) for name, value in document.items()})


def _exactly(*kinds: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) not in kinds:
            raise ValueError("a value of the knob has the wrong type")
        return value

    return read


def _texts(value: Any) -> Mapping[str, str]:
    return {str(name): str(text) for name, text in _exactly(dict)(value).items()}


def _names(value: Any) -> frozenset[str]:
    return frozenset(map(str, _exactly(list)(value)))


_TEXT: Final = _exactly(str)
_WHOLE: Final = _exactly(int)
_NUMBER: Final = _exactly(int, float)
_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "method": _TEXT,
    "api_key": _TEXT,
    "uid": _TEXT,
    "times": _WHOLE,
    "skip": _WHOLE,
    "error_code": _WHOLE,
    "http_status": _WHOLE,
    "headers": _texts,
    "delay": _NUMBER,
    "wire": Wire,
    "body": Body,
    "body_size": _WHOLE,
    "seal": Seal,
    "ignores": _names,
    "context": _TEXT,
    "expiry_form": ExpiryForm,
    "expiry_field": _TEXT,
    "provider_uid_form": ProviderUidForm,
    "wrong_signature": _exactly(bool),
    "signature_age": _NUMBER,
    "date_offset": _NUMBER,
    "members": _exactly(dict),
}
"""How each attribute is read from JSON; ``hold`` has no JSON."""
