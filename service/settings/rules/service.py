"""What the process's own parts must be to each other: ports, budgets, sinks."""

from collections.abc import Iterator
from typing import Final

from service.settings.audit import Sink
from service.settings.findings import Path
from service.settings.rules.remarks import Judged, Remark, advice, fault, items, repeated

_WILD: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared, not bound
_DEADLINE: Final[Path] = ("upstream", "deadline")


def ports(judged: Judged) -> Iterator[Remark]:
    """Require a port for each listener."""
    api, management = judged.settings.listeners.api, judged.settings.listeners.management
    hosts = {api.host, management.host}
    if api.port == management.port != 0 and (len(hosts) == 1 or hosts & _WILD):
        path: Path = ("listeners", "management", "port")
        yield fault(path, "is the same as listeners.api.port", ("listeners", "api", "port"))


def budgets(judged: Judged) -> Iterator[Remark]:
    """Require that no part of the deadline is longer than the whole."""
    upstream, drain = judged.settings.upstream, judged.settings.shutdown.drain
    if upstream.connect > upstream.deadline:
        yield fault(("upstream", "connect"), "must be upstream.deadline or less", _DEADLINE)
    if drain < upstream.deadline:
        told = "is less than upstream.deadline: requests in flight may be cut"
        yield advice(("shutdown", "drain"), told, _DEADLINE)
    if upstream.queue == 0:
        told = "is 0: nothing waits, also not the calls of one user over upstream.per_uid"
        yield advice(("upstream", "queue"), told)
    for at, sink in enumerate(judged.settings.audit.sinks):
        key = "disk_deadline" if sink.durability == "disk" else "deadline"
        if getattr(sink, key) >= upstream.deadline:
            yield fault(
                ("audit", "sinks", at, key), "must be less than upstream.deadline", _DEADLINE
            )


def proxy(judged: Judged) -> Iterator[Remark]:
    """Require a proxy for its credentials."""
    upstream = judged.settings.upstream
    if upstream.proxy_credentials_file is not None and upstream.proxy_url is None:
        path: Path = ("upstream", "proxy_credentials_file")
        yield fault(path, "is for upstream.proxy_url, which is missing", ("upstream", "proxy_url"))


def keys(judged: Judged) -> Iterator[Remark]:
    """Require that each audit key stands once."""
    path: Path = ("audit", "key_files")
    for place, first in repeated(items(path, judged.settings.audit.key_files)):
        yield fault(place, "is the same file as {}", named=first)


def sinks(judged: Judged) -> Iterator[Remark]:
    """Judge each sink by itself, and require that no name or place stands twice."""
    audit = judged.settings.audit
    rows: list[tuple[Path, Sink]] = [
        (("audit", "sinks", at), sink) for at, sink in enumerate(audit.sinks)
    ]
    for path, sink in rows:
        yield from _sink(path, sink)
    for path, first in repeated(((*path, "name"), sink.name) for path, sink in rows):
        yield fault(path, "is the same as {}", named=first)
    for path, first in repeated(((*path, "path"), sink.path) for path, sink in rows if sink.path):
        yield fault(path, "is the same as {}", named=first)
    stdout = (((*path, "type"), sink.type) for path, sink in rows if sink.type == "stdout")
    for path, first in repeated(stdout):
        yield fault(path, "is the same as {}: there is one standard output", named=first)


def _sink(path: Path, sink: Sink) -> Iterator[Remark]:
    kind = (*path, "type")
    if sink.type == "stdout" and sink.path is not None:
        yield fault((*path, "path"), "is not for type stdout", kind)
    if sink.type != "stdout" and sink.path is None:
        yield fault((*path, "path"), f"is missing: type {sink.type} needs it", kind)
    if sink.durability == "disk" and sink.type != "file":
        yield fault((*path, "durability"), "must be os where the type is not file", kind)
