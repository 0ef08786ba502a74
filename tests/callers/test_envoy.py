"""A real Envoy beside a caller: it speaks mutual TLS to the service, as a mesh's sidecar does."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from tests.callers.composed import (
    ASK,
    AUTHORITY,
    TLS,
    Moving,
    Running,
    composed,
    lines,
    serving,
)
from tests.house import House, caller, grant
from tests.pki import SERVER

pytestmark = pytest.mark.needs_tools

ENVOY: Final = Path(sys.executable).with_name("envoy")
STARTED: Final = b"starting workers"
SIDECAR: Final = AUTHORITY.issue("sync-worker")
PATIENCE: Final = 60
"""Seconds after which a test has failed."""


def listener(name: str) -> dict[str, Any]:
    """Return a plain listener whose requests all go to the cluster of the same name."""
    route = {"match": {"prefix": "/"}, "route": {"cluster": name}}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager"
        ".v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def cluster(name: str, port: int, **context: Any) -> dict[str, Any]:
    """Return a cluster of one endpoint: ours, over TLS that it verifies by our authority."""
    matcher = {"san_type": "DNS", "matcher": {"exact": "localhost"}}
    validation = {
        "trusted_ca": {"filename": "authority.pem"},
        "match_typed_subject_alt_names": [matcher],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "transport_socket": {
            "name": "tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
                ".UpstreamTlsContext",
                "sni": "localhost",
                "common_tls_context": {"validation_context": validation, **context},
            },
        },
    }


def bootstrap(port: int) -> dict[str, Any]:
    """Return Envoy's configuration: a way with a certificate, and one without."""
    pair = {
        "certificate_chain": {"filename": "sidecar.pem"},
        "private_key": {"filename": "sidecar.key"},
    }
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "listeners": [listener("certified"), listener("bare")],
            "clusters": [
                cluster("certified", port, tls_certificates=[pair]),
                cluster("bare", port),
            ],
        },
    }


@asynccontextmanager
async def envoy(running: Running) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """Run Envoy in front of the service; give a client of each of its listeners."""
    at = running.directory
    (at / "authority.pem").write_bytes(AUTHORITY.pem)
    (at / "sidecar.pem").write_bytes(SIDECAR.certificate)
    (at / "sidecar.key").write_bytes(SIDECAR.key)
    (at / "envoy.yaml").write_text(yaml.safe_dump(bootstrap(running.port), sort_keys=False))
    options = ["--config-path", "envoy.yaml", "--admin-address-path", "admin", "--concurrency", "1"]
    process = await asyncio.create_subprocess_exec(
        ENVOY, *options, "--use-dynamic-base-id", cwd=at, stderr=PIPE
    )
    assert process.stderr is not None
    try:
        said = b""
        while STARTED not in said:
            said = await process.stderr.readline()
            assert said, "Envoy did not start"
        reading = asyncio.create_task(process.stderr.read())
        ports = await listening((at / "admin").read_text().strip())
        made = {name: _client(port) for name, port in ports.items()}
        yield made
        for client in made.values():
            await client.aclose()
    finally:
        process.terminate()
        await process.wait()
    await reading


def _client(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)


async def listening(admin: str) -> dict[str, int]:
    """Return the ports of Envoy's listeners."""
    async with httpx.AsyncClient(base_url=f"http://{admin}", trust_env=False) as client:
        found = (await client.get("/listeners", params={"format": "json"})).json()
    return {
        each["name"]: each["local_address"]["socket_address"]["port_value"]
        for each in found["listener_statuses"]
    }


@asynccontextmanager
async def mesh(
    directory: Path,
) -> AsyncIterator[tuple[House, Running, dict[str, httpx.AsyncClient]]]:
    """Run the service and Envoy."""
    identities = [{"via": "mesh", "subject": "CN=sync-worker"}]
    house = composed(
        directory,
        house=Moving().house(directory),
        authentication=[{"name": "mesh", "method": "mutual_tls", "identity": "subject"}],
        callers=[caller("crm", grant()) | {"identities": identities}],
    )
    async with (
        asyncio.timeout(PATIENCE),
        serving(house) as running,
        envoy(running) as clients,
    ):
        yield house, running, clients


class TestEnvoy:
    async def test_comes_with_its_certificate(self, tmp_path: Path) -> None:
        """What comes through a sidecar is the caller's whose certificate the sidecar shows."""
        async with mesh(tmp_path) as (house, _, clients):
            response = await clients["certified"].post("/v1/provider-tokens", json=ASK)
        known = house.records()[0]["caller"]

        assert 200 == response.status_code, response.text
        assert ("crm", "mesh", "CN=sync-worker") == (
            known["name"],
            known["authentication"],
            known["subject"],
        )

    async def test_forwarded_identity_counts_for_nothing(self, tmp_path: Path) -> None:
        """Without a certificate it does not come in, whatever identity is in its headers."""
        forged = {"x-forwarded-client-cert": 'By=x;Subject="CN=sync-worker";URI=spiffe://a/b'}
        async with mesh(tmp_path) as (house, _, clients):
            response = await clients["bare"].post("/v1/provider-tokens", json=ASK, headers=forged)
        refused = lines(house, "tls-refused")

        assert 503 == response.status_code  # Envoy's own: it could not connect
        assert {"no-certificate"} == {record["reason"] for record in refused}
        assert [] == house.records()

    async def test_does_not_notice_a_new_certificate(self, tmp_path: Path) -> None:
        """While certificate and key are replaced under load, Envoy's pool loses no request."""
        got: Counter[int] = Counter()
        enough = asyncio.Event()
        async with mesh(tmp_path) as (house, running, clients):

            async def ask() -> None:
                for _ in range(60):
                    response = await clients["certified"].post("/v1/provider-tokens", json=ASK)
                    got[response.status_code] += 1
                    if got[200] >= 60:
                        enough.set()

            asking = [asyncio.create_task(ask()) for _ in range(4)]
            await enough.wait()
            leaf = AUTHORITY.issue("proxy", purpose=SERVER)
            house.files[TLS["certificate_file"]] = leaf.certificate
            house.files[TLS["key_file"]] = leaf.key
            running.application.reload()
            await asyncio.gather(*asking)
        replaced = [line for line in house.lines("reload") if line["name"] == "tls"]

        assert {200: 240} == dict(got)
        assert ["replaced"] == [line["outcome"] for line in replaced]
