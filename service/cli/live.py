"""Asks the real Gigya once, for ``check --live``: no retries, no cache, nothing kept."""

import asyncio

from service.catalogue import Catalogue
from service.cli.live_report import LiveReport, Mapped, Question, report
from service.deadline import Deadline
from service.engine import tls_context
from service.errors import UnknownProvider
from service.gigya.authentication import Credentials
from service.gigya.cipher import Padding
from service.gigya.client import Client
from service.gigya.keys import KeyRing, PartnerKey
from service.gigya.live_check import check_live
from service.gigya.sites import DATA_CENTERS, origin, simulator_origin
from service.gigya.slots import Slots
from service.live import Live
from service.model import ProviderName, SessionQuery, SiteName, Uid
from service.outbound import Outbound
from service.proxy_credentials import ProxyCredentials
from service.rulebook import catalogues_of
from service.settings.credentials import Bearer
from service.settings.credentials import Credentials as Way
from service.settings.load import Loaded
from service.settings.sites import Site
from service.wiring.sites import WAYS, terms_of
from service.wiring.world import Peer, World


def ask_gigya(loaded: Loaded, question: Question) -> LiveReport:
    """Return what one call to the Gigya of ``question.site`` settles."""
    return asyncio.run(asked(loaded, question, World()))


async def asked(loaded: Loaded, question: Question, world: World) -> LiveReport:
    """Ask by ``world``; ``loaded`` holds the files."""
    name, site = SiteName(question.site), loaded.settings.sites[question.site]
    catalogue = catalogues_of(loaded.settings)[name]
    provider = catalogue.canonical(question.provider)
    outbound = _outbound(loaded, site, world)
    client = Client(
        outbound,
        Live(_slots(loaded, site)),
        origin=_origin(site),
        api_key=site.api_key,
        pauses=Once(),
        clock=world.clock,
        nonce=world.nonce,
    )
    try:
        findings = await check_live(
            client,
            _ring(loaded, site),
            terms_of(site),
            SessionQuery(site=name, provider=provider, uid=Uid(question.uid)),
            Deadline.after(loaded.settings.upstream.deadline, world.clock),
            nonce=world.nonce,
        )
    finally:
        await client.aclose()
        await outbound.aclose()
    return report(findings, site, _mapping(catalogue, provider))


def _mapping(catalogue: Catalogue, provider: ProviderName) -> Mapped:
    try:
        return catalogue.row(provider)
    except UnknownProvider as error:
        return error.again()  # without the frames


class Once:
    """Never again (``client.Pauses``)."""

    def begin(self) -> None:
        """Count nothing."""

    async def pause(self, attempt: int, deadline: Deadline, *, at_least: float = 0.0) -> bool:
        """Refuse."""
        del attempt, deadline, at_least
        return False


def _outbound(loaded: Loaded, site: Site, world: World) -> Outbound:
    upstream, simulator = loaded.settings.upstream, site.simulator
    ca_file = upstream.ca_file if simulator is None else simulator.ca_file
    trust = None if ca_file is None else Live(tls_context(loaded.materials[ca_file].reveal()))
    proxy_url = upstream.proxy_url if simulator is None else None
    file = upstream.proxy_credentials_file
    proved = None
    if proxy_url is not None and file is not None:
        proved = Live(ProxyCredentials.from_file(loaded.materials[file].reveal()))
    peer = Peer(trust=trust, proxy_url=proxy_url, proxy_credentials=proved, connections=1)
    transport = world.dial(peer)
    return Outbound(transport, cap=upstream.response_cap, connect=upstream.connect)


def _origin(site: Site) -> str:
    if site.simulator is not None:
        return simulator_origin(site.simulator.url)
    return origin(DATA_CENTERS[site.data_center or ""])


def _slots(loaded: Loaded, site: Site) -> Slots:
    ways = site.authentication
    previous = None if ways.previous is None else _credentials(loaded, ways.previous)
    return Slots(current=_credentials(loaded, ways.current), previous=previous)


def _credentials(loaded: Loaded, way: Way) -> Credentials:
    file = way.key_file if isinstance(way, Bearer) else way.secret_file
    return WAYS[type(way)](way, loaded.materials[file].reveal())


def _ring(loaded: Loaded, site: Site) -> KeyRing:
    texts = (loaded.materials[file].reveal().decode() for file in site.partner_secret_files)
    return KeyRing(
        [PartnerKey.from_base64(text) for text in texts], Padding(site.encryption.padding)
    )
