"""What a run was measured on and with."""

import os
import platform
import subprocess
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from tests.benchmark.table import LeftOut, tool

PACKAGES: Final = (
    "uvicorn",
    "uvloop",
    "httptools",
    "starlette",
    "aiohttp",
    "httpx",
    "cryptography",
    "structlog",
    "prometheus-client",
    "PyJWT",
    "opentelemetry-sdk",
)
TOOLS: Final = {"go": ["version"], "nginx": ["-v"], "envoy": ["--version"]}


def machine() -> dict[str, Any]:
    """Return what the machine is, and how busy it was before."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "?")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": f"CPython {platform.python_version()} ({platform.python_compiler()})",
        "python_build": str(sysconfig.get_config_var("CONFIG_ARGS")),
        "load": os.getloadavg()[0],
    }


def versions() -> dict[str, str]:
    """Return the versions of what takes part."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    for name, arguments in TOOLS.items():
        try:
            program = tool(name, "/usr/sbin")
        except LeftOut:
            continue
        line = [program, *arguments]
        done = subprocess.run(line, capture_output=True, check=False, text=True)  # noqa: S603  # ours
        found[name] = _number(done.stdout + done.stderr)
    return found


def _number(text: str) -> str:
    words = text.replace("/", " ").replace("go", " ").split()
    return next((word for word in words if word[:1].isdigit() and "." in word), "?")
