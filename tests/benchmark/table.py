"""The forms: how each is started, what it needs, what it is asked with."""

import json
import os
import shutil
import string
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tests.benchmark.material import Material
from tests.benchmark.processes import ROOT, free_port, module
from tests.benchmark.product import (
    configuration,
    on_disk,
    over_mutual_tls,
    traced,
    with_bearer,
    with_cache,
)

FORMS: Final = ROOT / "tests" / "benchmark" / "forms"

Command = Callable[[Material, int, int], Sequence[str]]
"""Folder, own port, upstream's port -> command."""


class LeftOut(Exception):
    """A form that cannot run here; says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One form of the job."""

    name: str
    label: str
    command: Command
    requests: str = "requests.json"
    certificate: str | None = None


def product(
    name: str, change: Callable[[dict[str, Any], Material], None] = lambda _, __: None
) -> Command:
    """Return how the product is started, its configuration changed by ``change``."""

    def command(material: Material, port: int, upstream: int) -> Sequence[str]:
        own = f"{name}-{port}"
        settings = configuration(
            material, name=own, port=port, management=free_port(), upstream=upstream
        )
        change(settings, material)
        file = material.directory / f"{own}.yaml"
        file.write_text(json.dumps(settings))  # JSON is YAML
        return module("service", "serve", "--config", file)

    return command


def ours(name: str) -> Command:
    """Return how a Python form of this folder is started."""

    def command(material: Material, port: int, upstream: int) -> Sequence[str]:
        return module(f"tests.benchmark.forms.{name}", material.directory, port, upstream)

    return command


def tool(name: str, *places: str) -> str:
    """Return the path of a program; raises ``LeftOut``."""
    own = Path(sys.executable).parent
    path = os.pathsep.join([str(own), os.environ.get("PATH", ""), *places])
    found = shutil.which(name, path=path)
    if found is None:
        raise LeftOut(f"{name} is not installed")
    return found


def go(material: Material, port: int, upstream: int) -> Sequence[str]:
    """Build the Go form, and return how it is started."""
    binary = material["gateway"]
    cache = os.environ.get("GOCACHE", str(Path.home() / ".cache" / "go-build"))
    quiet = {"GOCACHE": cache, "GOPROXY": "off", "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    done = subprocess.run(  # noqa: S603  # Go
        [tool("go"), "build", "-o", binary, str(FORMS / "gateway.go")],
        env={**os.environ, **quiet},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise LeftOut(f"Go does not build it: {' / '.join(done.stderr.splitlines()[-3:])}")
    return ["env", "GOMAXPROCS=1", binary, str(material.directory), str(port), str(upstream)]


def filled(file: str, material: Material, port: int, upstream: int) -> str:
    """Write a template of the forms into the folder, and return its path."""
    text = string.Template((FORMS / file).read_text("utf-8"))
    values = {"directory": material.directory, "port": port, "upstream": upstream}
    (material.directory / file).write_text(text.substitute(values))
    return material[file]


def nginx(material: Material, port: int, upstream: int) -> Sequence[str]:
    """Return how nginx is started."""
    program = tool("nginx", "/usr/sbin")
    return [
        program,
        "-p",
        str(material.directory),
        "-c",
        filled("nginx.conf", material, port, upstream),
    ]


def envoy(material: Material, port: int, upstream: int) -> Sequence[str]:
    """Return how Envoy is started."""
    program = tool("envoy")
    filled("envoy-secret.yaml", material, port, upstream)
    config = filled("envoy.yaml", material, port, upstream)
    return [program, "-c", config, "--concurrency", "1", "--base-id", str(port), "-l", "error"]


def needs(package: str, command: Command) -> Command:
    """Return ``command`` where a Python package is there; else it raises ``LeftOut``."""

    def checked(material: Material, port: int, upstream: int) -> Sequence[str]:
        if find_spec(package.partition(".")[0]) is None or find_spec(package) is None:
            raise LeftOut(f"{package} is not installed")
        return command(material, port, upstream)

    return checked


ALL: Final[Mapping[str, Form]] = {
    form.name: form
    for form in (
        Form(name="product", label="product, everything on", command=product("product")),
        Form(
            name="textbook",
            label="textbook: BaseHTTPMiddleware, httpx's pool, PyJWT",
            command=needs("jwt", ours("textbook")),
        ),
        Form(
            name="passthrough",
            label="bare ASGI pass-through, raw client",
            command=ours("passthrough"),
        ),
        Form(name="go", label="Go, standard library, the core of the work", command=go),
        Form(name="envoy", label="Envoy: JWT check, injector, no decryption", command=envoy),
        Form(name="nginx", label="nginx proxy_pass", command=nginx),
        Form(
            name="product-cache",
            label="product, cache hits",
            command=product("product-cache", with_cache),
        ),
        Form(
            name="product-disk",
            label="product, durability: disk",
            command=product("product-disk", on_disk),
        ),
        Form(
            name="product-bearer",
            label="product, bearer to Gigya",
            command=product("product-bearer", with_bearer),
        ),
        Form(
            name="product-traced",
            label="product, tracing too",
            command=needs("opentelemetry.sdk", product("product-traced", traced)),
        ),
        Form(
            name="product-mtls",
            label="product, mutual TLS",
            command=product("product-mtls", over_mutual_tls),
            requests="bare.json",
            certificate="caller.pem",
        ),
    )
}
