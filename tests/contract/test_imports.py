"""The arrows of the house: a module imports only what stands above it in the table of contents."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

SERVICE: Final = Path(__file__).parents[2] / "service"

ORDER: Final = (
    # vocabulary
    "secret",
    "values",
    "model",
    "errors",
    "deadline",
    "live",
    "strict_json",
    # pure
    "provider_rows",
    "catalogue",
    "providers",
    "subject_patterns",
    "subjects",
    "grants",
    "denials",
    "policy",
    "named",
    "gigya.signature",
    "gigya.cipher",
    "gigya.keys",
    "proxy_credentials",
    "gigya.sites",
    "gigya.authentication",
    "gigya.expiries",
    "gigya.replies",
    "gigya.sealing",
    "gigya.terms",
    "api.members",
    "api.requests",
    "api.problem_table",
    "api.problems",
    "settings",
    # shell
    "endings",
    "alarm",
    "wire",
    "pool",
    "engine",
    "over_httpx",
    "outbound",
    "resilience.retries",
    "gigya.troubles",
    "gigya.attempts",
    "gigya.access_token",
    "gigya.slots",
    "gigya.clock_offset",
    "gigya.cures",
    "gigya.client",
    "gigya.session_info",
    "gigya.live_check",
    "callers",
    "resilience",
    "census",
    "limits",
    "floods",
    "rulebook",
    "sessions",
    "audit",
    "aside",
    "watch",
    "quiet",
    "http_methods",
    "counters",
    "metrics",
    "lines",
    "logs",
    "tracing",
    "collector",
    "tls",
    "peer_trust",
    "heads",
    "reception",
    "hatch",
    "parting",
    "handshake",
    "connection",
    "listener",
    # use case, transport, composition
    "broker",
    "api",
    "wiring",
    "app",
    "server",
    "cli",
    "__main__",
)

FENCES: Final = {
    "httpx": {"wire", "pool", "engine", "over_httpx", "outbound"},
    "aiohttp": {"wire", "pool", "engine", "outbound"},
    "yarl": {"engine"},
    "prometheus_client": {"counters", "metrics"},
    "structlog": {"logs"},
    "uvicorn": {"hatch", "parting", "reception", "connection", "listener"},
    "starlette": {"api", "wiring.entrance", "wiring.traced", "app"},
    "joserfc": {"callers"},
    "pydantic": {"settings"},
    "yaml": {"settings", "cli.demo"},
    "cryptography": {"gigya", "callers", "settings", "audit.fingerprints", "tls", "peer_trust"},
    "opentelemetry": {"collector"},
    "requests": {"collector"},
    "os": {"audit", "lines", "tls", "wiring.world", "cli"},
}


def modules() -> dict[str, Path]:
    """Return every module of the service but the simulator's, by dotted name inside it."""
    found = {
        ".".join(path.relative_to(SERVICE).with_suffix("").parts): path
        for path in SERVICE.rglob("*.py")
    }
    return {
        name: path
        for name, path in found.items()
        if not name.startswith("simulator") and not name.endswith("__init__")
    }


def imports(path: Path) -> Iterator[str]:
    """Return the dotted names that ``path`` imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def inside(path: Path) -> set[str]:
    """Return the modules of the service that ``path`` imports."""
    names = {name.removeprefix("service.") for name in imports(path)}
    return names & set(modules())


def rank(module: str) -> int:
    """Return the place of ``module`` in the order: its own row, or its room's."""
    parts = module.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next(ORDER.index(prefix) for prefix in prefixes if prefix in ORDER)


def room(module: str) -> str:
    """Return the row of the order that ``module`` belongs to."""
    return ORDER[rank(module)]


@pytest.mark.parametrize("module", sorted(modules()))
class TestImports:
    def test_point_back(self, module: str) -> None:
        """A module imports only modules that stand before it, or beside it in its own room."""
        forward = [
            name
            for name in inside(modules()[module])
            if rank(name) > rank(module) or (rank(name) == rank(module) and name in ORDER)
        ]

        assert [] == [name for name in forward if name != module]

    def test_keep_to_their_fences(self, module: str) -> None:
        """A library is imported only in the rooms that are named for it."""
        libraries = {name.split(".")[0] for name in imports(modules()[module])}
        trespassing = [
            library
            for library in sorted(libraries & set(FENCES))
            if not any(
                module == allowed or module.startswith(f"{allowed}.") for allowed in FENCES[library]
            )
        ]

        assert [] == trespassing


def test_rooms_have_no_circles() -> None:
    """Within a room, too, imports never run in a circle."""
    arrows = {name: inside(path) - {name} for name, path in modules().items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join((*way, name))}"
        if name not in done:
            for other in arrows[name]:
                visit(other, (*way, name))
            done.add(name)

    for name in arrows:
        visit(name, ())


def test_the_simulator_shares_nothing() -> None:
    """The simulator imports nothing else of the service, so that it cannot share a mistake."""
    foreign = [
        (path.name, name)
        for path in (SERVICE / "simulator").rglob("*.py")
        for name in imports(path)
        if name.startswith("service") and not name.startswith("service.simulator")
    ]

    assert [] == foreign


def test_every_library_is_declared() -> None:
    """What is imported is the standard library, the service itself, or a declared dependency."""
    declared = {*FENCES, "service", "orjson", "uvloop", "httptools", "pydantic_core"}
    imported = {name.split(".")[0] for path in SERVICE.rglob("*.py") for name in imports(path)}

    assert set() == imported - declared - set(sys.stdlib_module_names)
