"""Files that change while we run: read, checked, put in place whole; a faulty one changes nothing.

Kubernetes replaces mounted ConfigMaps and Secrets by renaming a symbolic link (``..data``) above
them, so the files are read at an interval and compared by digest. Files that belong together are
read together, and again if they differ, so that no mixture of old and new is taken.
"""

import asyncio
import hashlib
import stat
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from errno import EINVAL
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar

from service.aside import aside
from service.live import Live

T = TypeVar("T")

LARGEST: Final = 16 << 20
"""Octets of a watched file; a larger one was mounted by mistake."""

INTERVAL: Final = 5.0
"""Seconds between two looks; the kubelet itself takes up to a minute or more."""

PATIENCE: Final = 5.0
"""Seconds that files have to be read and parsed before they are faulty: a file system may hang."""

SETTLING: Final = 3
"""How often files are read before they are said to be changing all the time."""


class Outcome(StrEnum):
    """What became of a look at the files."""

    REPLACED = "replaced"
    FAULTY = "faulty"
    RESTART_REQUIRED = "restart-required"
    HEALED = "healed"


class FileFault(ValueError):
    """The files cannot be used; says why, quoting nothing of them.

    ``at`` is the place among them of the one that it is about, where it is about one.
    """

    outcome: ClassVar = Outcome.FAULTY

    def __init__(self, why: str, *, at: int | None = None) -> None:
        self.at = at
        super().__init__(why)


class RestartRequired(FileFault):
    """The files are good, but only a process that begins with them can use them."""

    outcome: ClassVar = Outcome.RESTART_REQUIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happened to a watched value.

    ``FAULTY``: the files cannot be read or used, and the value before them stays; told once for
    each reason, which is ``detail``. ``RESTART_REQUIRED``: likewise, though nothing is wrong with
    them. ``HEALED``: they are again what is in use.
    """

    name: str
    outcome: Outcome
    generation: int
    detail: str = ""


Observe = Callable[[Change], None]
OffLoop = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs what may block, elsewhere, and returns its result."""


def ignore(_: Change) -> None:
    """Observe nothing."""


class Irregular(OSError):
    """A pipe, a socket or a device: to read it could take for ever."""


def read_file(path: Path) -> bytes:
    """Return what is in a file. Raises ``OSError``, and ``FileFault`` over ``LARGEST`` octets."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise Irregular(EINVAL, "not a regular file")
    with path.open("rb") as file:
        octets = file.read(LARGEST + 1)
    if len(octets) > LARGEST:
        raise FileFault("a file is too large")
    return octets


def each_of(contents: Sequence[bytes], make: Callable[[bytes], T]) -> list[T]:
    """Return what ``make`` makes of each; its ``ValueError`` is a fault of that file alone."""
    return [_made(make, content, at) for at, content in enumerate(contents)]


def _made(make: Callable[[bytes], T], content: bytes, at: int) -> T:
    try:
        return make(content)
    except ValueError as error:
        problem = str(error)
    raise FileFault(problem, at=at)


@dataclass(frozen=True, slots=True, eq=False)
class Loaded(Generic[T]):
    """A value and the digest of what it was made from."""

    value: T
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Generic[T]):
    """A value made from files that are replaced together.

    ``parse`` takes the contents in the order of ``paths``. Whatever it raises makes them faulty;
    its text is told if it is one of ``told``, whose texts quote nothing, else only its kind.
    """

    name: str
    paths: Sequence[Path]
    parse: Callable[[Sequence[bytes]], T]
    told: tuple[type[Exception], ...] = ()
    read: Callable[[Path], bytes] = read_file

    def load(self, known: bytes = b"") -> Loaded[T] | None:
        """Return what the files say, or nothing if their digest is ``known``.

        Blocks while it reads. Raises ``FileFault``, which neither holds nor chains their contents.
        """
        contents = self._settled(known)
        if contents is None:
            return None
        problem: FileFault
        try:
            return Loaded(self.parse(contents), _digest(contents))
        except RestartRequired as error:
            problem = RestartRequired(str(error))
        except Exception as error:  # noqa: BLE001  # a parser's bug must not end the watching
            problem = FileFault(self._words_for(error))
        raise problem

    def open(self) -> Loaded[T]:
        """Return what the files say at the start. Raises ``FileFault``."""
        loaded = self.load()
        assert loaded is not None  # noqa: S101  # no digest is empty
        return loaded

    def _words_for(self, error: Exception) -> str:
        why = f"the contents cannot be used ({type(error).__name__})"
        if isinstance(error, (FileFault, *self.told)):
            why = str(error)
        at = 0 if len(self.paths) == 1 else getattr(error, "at", None)
        return why if at is None else f"{self.paths[at]}: {why}"

    def _settled(self, known: bytes) -> tuple[bytes, ...] | None:
        before = self._contents()
        if _digest(before) == known:
            return None
        for _ in range(SETTLING):
            contents = self._contents()
            if contents == before:
                return contents
            before = contents
        raise FileFault("the files do not stop changing")

    def _contents(self) -> tuple[bytes, ...]:
        return tuple(self._content(path) for path in self.paths)

    def _content(self, path: Path) -> bytes:
        try:
            return self.read(path)
        except OSError as error:
            why = f"cannot be read ({type(error).__name__})"
        except FileFault as fault:
            why = str(fault)
        raise FileFault(f"{path}: {why}")


def _digest(contents: Sequence[bytes]) -> bytes:
    return hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in contents)).digest()


class Watched(Generic[T]):
    """Keeps ``live`` at what the files of ``source`` say; ``digest`` is of what made it so far."""

    def __init__(
        self,
        source: Source[T],
        live: Live[T],
        observe: Observe = ignore,
        *,
        digest: bytes = b"",
        off_loop: OffLoop = aside,
    ) -> None:
        self.live = live
        self._source = source
        self._observe = observe
        self._digest = digest
        self._off_loop = off_loop
        self._fault: str | None = None
        self._looking: asyncio.Future[Loaded[T] | None] | None = None

    @classmethod
    def open(
        cls, source: Source[T], observe: Observe = ignore, *, off_loop: OffLoop = aside
    ) -> "Watched[T]":
        """Return ``source`` as it is now, to be watched from here on. Raises ``FileFault``."""
        first = source.open()
        return cls(source, Live(first.value), observe, digest=first.digest, off_loop=off_loop)

    @property
    def name(self) -> str:
        """What is watched, as metrics and logs call it."""
        return self._source.name

    @property
    def is_faulty(self) -> bool:
        """Whether the files say something else than what is in use, and cannot be used."""
        return self._fault is not None

    async def check(self) -> None:
        """Look once, or see whether a look that hangs has ended; never raises."""
        looking, self._looking = self._looking, None
        if looking is None:
            looking = asyncio.ensure_future(self._off_loop(self._look))
            await asyncio.wait({looking}, timeout=PATIENCE)
        if not looking.done():
            self._looking = looking  # one that hangs is enough
            self._note(FileFault("a file cannot be read (TimeoutError)"))
            return
        try:
            loaded = looking.result()
        except FileFault as fault:
            self._note(fault)
        else:
            self._take(loaded)

    def _look(self) -> Loaded[T] | None:
        return self._source.load(self._digest)

    def _take(self, loaded: Loaded[T] | None) -> None:
        was_faulty, self._fault = self.is_faulty, None
        if loaded is not None:
            self._digest = loaded.digest
            self.live.replace(loaded.value)
            self._tell(Outcome.REPLACED)
        elif was_faulty:
            self._tell(Outcome.HEALED)

    def _note(self, fault: FileFault) -> None:
        if str(fault) != self._fault:
            self._fault = str(fault)
            self._tell(fault.outcome, str(fault))

    def _tell(self, outcome: Outcome, detail: str = "") -> None:
        name, generation = self._source.name, self.live.generation
        with suppress(Exception):  # observation never stops a reload
            self._observe(Change(name=name, outcome=outcome, generation=generation, detail=detail))


class Watcher:
    """Looks after everything that is watched, at an interval and when woken."""

    def __init__(self, watched: Sequence[Watched[Any]], *, interval: float = INTERVAL) -> None:
        self._watched = tuple(watched)
        self._interval = interval
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look now: what SIGHUP asks for."""
        self._woken.set()

    async def run(self) -> None:
        """Look for ever; cancel it to stop."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._woken.wait()
            self._woken.clear()
            await asyncio.gather(*(each.check() for each in self._watched))
