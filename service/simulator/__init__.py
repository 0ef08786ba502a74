"""A Gigya of our own, which shares no code with the rest.

``seeded`` makes a world of sites, keys and users, ``build`` the ASGI application that serves it,
``serving`` puts that on a port. ``Knobs`` make it misbehave.
"""

from service.simulator.app import Simulator, build
from service.simulator.expiries import ExpiryForm
from service.simulator.knobs import Body, Knob, Knobs, Seal, Wire
from service.simulator.running import Address, serving, serving_in_thread
from service.simulator.seeds import Seeded, seeded
from service.simulator.signing import ProviderUidForm
from service.simulator.tls import Authority, Certificate
from service.simulator.world import Connection, Site, UserKey, World

__all__ = [
    "Address",
    "Authority",
    "Body",
    "Certificate",
    "Connection",
    "ExpiryForm",
    "Knob",
    "Knobs",
    "ProviderUidForm",
    "Seal",
    "Seeded",
    "Simulator",
    "Site",
    "UserKey",
    "Wire",
    "World",
    "build",
    "seeded",
    "serving",
    "serving_in_thread",
]
