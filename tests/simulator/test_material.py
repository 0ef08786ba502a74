import base64
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from service.simulator import Seeded, material
from service.simulator.material import MaterialFault
from tests.simulator.asking import NOW


def made_in(directory: Path, load: int = 0) -> Seeded:
    """Return the world of seed 1 with the keys of ``directory``."""
    return material.made_from(directory, seed="1", now=NOW, data_center="us1.gigya.com", load=load)


class TestMadeFrom:
    def test_writes(self, tmp_path: Path) -> None:
        """What is not there is made, and written for its owner alone."""
        made = made_in(tmp_path / "keys")
        names = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()}
        assert dict.fromkeys(("partner-secret", "user-secret", "user-key.pem"), 0o600) == names
        assert made.partner_secret == (tmp_path / "keys/partner-secret").read_text()
        assert b"BEGIN RSA PRIVATE KEY" in (tmp_path / "keys/user-key.pem").read_bytes()

    def test_reads(self, tmp_path: Path) -> None:
        """What is there is used, white space around it forgiven."""
        secret = base64.b64encode(bytes(24)).decode()
        (tmp_path / "partner-secret").write_text(f" {secret}\n")
        first, second = made_in(tmp_path), made_in(tmp_path)
        assert secret == second.partner_secret == second.site.sealing
        assert first.private_key_pem == second.private_key_pem

    def test_load(self, tmp_path: Path) -> None:
        """More users are seeded for load, at every site."""
        made = made_in(tmp_path, load=3)
        assert all(
            {"load-0", "load-1", "load-2"} <= set(site.users) for site in made.world.sites.values()
        )

    @pytest.mark.parametrize("text", ["", "!!!", base64.b64encode(bytes(8)).decode(), "é"])
    def test_bad_secret(self, tmp_path: Path, text: str) -> None:
        """A secret that is no AES key is a fault, which does not quote it."""
        (tmp_path / "partner-secret").write_text(text)
        with pytest.raises(MaterialFault, match="partner-secret is not base64 of 16, 24 or 32"):
            made_in(tmp_path)

    def test_bad_key(self, tmp_path: Path) -> None:
        """A key of another kind is a fault, and so is no key."""
        key = ec.generate_private_key(ec.SECP256R1())
        other = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for octets in (b"", other):
            (tmp_path / "user-key.pem").write_bytes(octets)
            with pytest.raises(MaterialFault, match="not an RSA private key"):
                made_in(tmp_path)


class TestServerContext:
    def test_writes_and_reads(self, tmp_path: Path) -> None:
        """A certificate is made once, and used again."""
        material.server_context(tmp_path, ["localhost"])
        first = (tmp_path / "server.pem").read_bytes()
        assert isinstance(material.server_context(tmp_path, ["localhost"]), ssl.SSLContext)
        assert first == (tmp_path / "server.pem").read_bytes()
        assert 0o600 == (tmp_path / "server-key.pem").stat().st_mode & 0o777

    def test_bad(self, tmp_path: Path) -> None:
        """A certificate without its key is a fault."""
        material.server_context(tmp_path, ["localhost"])
        (tmp_path / "server-key.pem").write_text("no key")
        with pytest.raises(MaterialFault, match="no certificate with its key"):
            material.server_context(tmp_path, ["localhost"])
