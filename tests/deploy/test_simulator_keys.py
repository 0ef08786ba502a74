"""The throwaway keys that the chart makes for staging do for the simulator and for the proxy."""

import asyncio
import base64
import ssl
from pathlib import Path

import pytest

from service.engine import tls_context
from service.simulator import Knobs, build, serving
from service.simulator.material import made_from, server_context
from tests.deploy.charts import objects, one

pytestmark = pytest.mark.needs_tools

HOST = "gigya-credential-proxy-simulator.gigya-credential-proxy.svc"


def unpacked(directory: Path) -> Path:
    """Return a directory that holds the Secret's files, as the pods see them."""
    secret = one(objects("staging"), "Secret", "gigya-credential-proxy-simulator")
    for name, value in secret["data"].items():
        (directory / name).write_bytes(base64.b64decode(value))
    return directory


class TestKeys:
    async def test_serve_whom_the_proxy_believes(self, tmp_path: Path) -> None:
        """The proxy's own TLS, as strict as the newest Python's, believes the simulator."""
        keys = unpacked(tmp_path)
        made = made_from(keys, seed="0", now=0, data_center="us1")
        trust = tls_context((keys / "ca.pem").read_bytes())
        trust.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN

        async with serving(build(made.world, Knobs()), context=server_context(keys, [])) as address:
            _, writer = await asyncio.open_connection(
                "127.0.0.1", address.port, ssl=trust, server_hostname=HOST
            )
            name = writer.get_extra_info("peercert")["subjectAltName"]
            writer.close()
            await writer.wait_closed()

        assert ("DNS", HOST) in name

    def test_are_read_and_not_written(self, tmp_path: Path) -> None:
        """The simulator writes nothing, as its directory is read-only."""
        keys = unpacked(tmp_path)
        before = {each.name for each in keys.iterdir()}
        made_from(keys, seed="0", now=0, data_center="us1")

        assert before == {each.name for each in keys.iterdir()}

    def test_fit_the_shape_for_staging(self, tmp_path: Path) -> None:
        """API key and user key of the example are the simulator's of the chart's seed."""
        made = made_from(unpacked(tmp_path), seed="0", now=0, data_center="us1")
        text = one(objects("staging"), "ConfigMap")["data"]["config.yaml"]

        assert made.api_key in text
        assert made.user_key in text

    def test_are_not_all_the_proxys(self) -> None:
        """The proxy gets the CA and its own secrets, not the simulator's TLS key."""
        volumes = one(objects("staging"), "Deployment")["spec"]["template"]["spec"]["volumes"]
        (mounted,) = (each["secret"] for each in volumes if each["name"] == "simulator")

        assert "server-key.pem" not in {each["key"] for each in mounted["items"]}
