"""One connection to a peer: one request at a time over it, and what the peer says to it."""

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Final

import aiohttp
import httpx
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpResponseParser, RawResponseMessage

Heard = tuple[RawResponseMessage, aiohttp.StreamReader]
"""The head of an answer, and where its body comes."""

HELD: Final = 65_536
"""Octets of a body: with more than twice as many held reading pauses, below them it goes on."""


class Wire(BaseProtocol):
    """A connection that aiohttp's connector has opened, taken over before anything was said.

    Of its ``ResponseHandler`` only the farewell is left, for which a closing connector waits: what
    it does besides for each answer (a queue, timers, upgrades) costs more than the parsing.
    """

    def __init__(self, dialled: aiohttp.connector.Connection) -> None:
        handler, transport = dialled.protocol, dialled.transport
        if handler is None or transport is None:
            dialled.close()
            raise aiohttp.ClientConnectionResetError("the connection was lost as it was made")
        loop = asyncio.get_running_loop()
        super().__init__(loop)
        self.is_spoiled = handler.should_close
        """Whether something came over it before it was taken over."""
        self._dialled = dialled
        self._handler = handler
        self._stays = True
        self._is_paused = False
        self._answer: asyncio.Future[Heard] | None = None
        self._parsing: HttpResponseParser | None = None
        self._new_answer = loop.create_future
        self._new_parsing = partial(
            HttpResponseParser,
            self,
            loop,
            HELD,
            payload_exception=aiohttp.ClientPayloadError,
            read_until_eof=True,
            auto_decompress=False,
        )
        self.transport = transport
        transport.set_protocol(self)

    @property
    def is_closing(self) -> bool:
        """Whether either side has closed it."""
        return self.transport is None or self.transport.is_closing()

    def ask(self, octets: bytes) -> "asyncio.Future[Heard]":
        """Send a whole request, and return where the head of its answer will be."""
        transport = self.transport
        if transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionResetError("the connection was lost before it was used")
        # Anew for each answer: what the last one has begun to parse belongs to none.
        self._parsing = self._new_parsing()
        self._answer = answer = self._new_answer()
        transport.write(octets)
        return answer

    def rest(self) -> bool:
        """End an exchange whose answer was read whole; return whether another may follow.

        None may where the peer has begun to say more, or has not taken all that was asked.
        """
        parsing, transport = self._parsing, self.transport
        self._answer = self._parsing = None
        if not self._stays or parsing is None or transport is None:
            return False
        return not (transport.get_write_buffer_size() or _has_begun(parsing))

    def close(self) -> None:
        """Close it, whatever is under way."""
        self._dialled.close()

    def data_received(self, data: bytes) -> None:
        """Hear what the peer says."""
        answer, parsing = self._answer, self._parsing
        if answer is None or parsing is None:
            self.close()  # nobody has asked
            return
        try:
            messages, is_upgraded, _ = parsing.feed_data(data)
        except Exception:  # noqa: BLE001  # what it calls of aiohttp's raises kinds of its own
            self._break(answer)
            return
        for message, payload in messages:
            if answer.done():  # a second answer to one request is nobody's
                self._stays = False
                return
            if message.code // 100 == 1 and message.code != HTTPStatus.SWITCHING_PROTOCOLS:
                continue  # an interim answer (RFC 9110 §15.2)
            self._stays = not (message.should_close or is_upgraded)
            answer.set_result((message, payload))

    def connection_lost(self, exc: BaseException | None) -> None:
        """End what is under way: an answer may end so (RFC 9112 §6.3), or breaks off."""
        self.close()
        self._handler.connection_lost(exc)
        super().connection_lost(exc)
        answer, parsing = self._answer, self._parsing
        self._answer = self._parsing = None
        self._is_paused = False
        if answer is None or parsing is None:
            return
        if answer.done():
            if exc is not None or not _ends_well(parsing):
                _break_off(answer)
        elif isinstance(exc, OSError):
            answer.set_exception(aiohttp.ClientOSError(*exc.args))
        else:
            answer.set_exception(aiohttp.ServerDisconnectedError())

    def pause_reading(self) -> None:
        """Stop reading: more is held of a body than is taken."""
        if self.transport is not None and not self.transport.is_closing():
            self._is_paused = True
            self.transport.pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002
        """Go on reading; the parser was not paused, as it unpacks nothing."""
        if self._is_paused and self.transport is not None:
            self._is_paused = False
            self.transport.resume_reading()

    def _break(self, answer: "asyncio.Future[Heard]") -> None:
        self.close()
        if answer.done():
            _break_off(answer)
        else:
            answer.set_exception(httpx.RemoteProtocolError("the answer is not HTTP"))


def _has_begun(parsing: HttpResponseParser) -> bool:
    """Whether the beginning of another answer came behind the last one."""
    try:
        return parsing.feed_eof() is not None
    except Exception:  # noqa: BLE001  # of kinds of its own
        return True


def _ends_well(parsing: HttpResponseParser) -> bool:
    """Whether the answer that is being parsed may end with its connection."""
    try:
        parsing.feed_eof()
    except Exception:  # noqa: BLE001  # likewise
        return False
    return True


def _break_off(answer: "asyncio.Future[Heard]") -> None:
    """Tell whoever reads the body of ``answer``, if it is not all there, that no more comes."""
    if answer.cancelled() or answer.exception() is not None:
        return
    _, payload = answer.result()
    if not payload.is_eof():
        payload.set_exception(aiohttp.ClientPayloadError("the answer broke off"))
