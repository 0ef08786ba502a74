"""Logs that earlier releases wrote, kept as they were: rotated, torn twice, gapped, of two keys.

Whoever raises ``controls.VERSION`` adds a log of the new form and leaves the others alone.
"""

import json
from pathlib import Path
from typing import Final

import pytest

from service.audit import controls, search
from service.audit.exported import expected
from service.audit.findings import Finding
from service.audit.fingerprints import AuditKey, Keyring
from service.audit.reading import arranged, from_path
from service.audit.verification import Verifier
from service.secret import Secret
from tests.audit.test_record import VALIDATOR

LOGS: Final = {
    version: Path(__file__).parents[1] / f"vectors/audit-{version}"
    for version in range(1, controls.VERSION + 1)
}
NOTES: Final = {
    1: [
        "a torn line, told by record 12",
        "a gap: records 9 to 11 were missed since 2027-01-15T08:00:02.500000Z (no-space)",
        "a torn line, told by record 15",
        "chain a0a1a2a3a4a5a6a7 was not closed before record 15: killed",
    ]
}
RELEASES: Final = {1: [1, 3, 5, 6, 8, 9]}
"""The numbers that are the audit ids of the releases of "sentinel-token"."""


def keys(version: int) -> Keyring:
    names = ("newer", "older")
    contents = [(LOGS[version] / f"{name}.key").read_bytes() for name in names]
    return Keyring(tuple(map(AuditKey.from_file, contents)))


@pytest.mark.parametrize("version", LOGS)
class TestGoldenLog:
    def test_is_intact(self, version: int) -> None:
        """This release verifies it against its head, with the notes that it was kept for."""
        head = expected((LOGS[version] / "head").read_text().strip())
        findings: list[Finding] = []
        verifier = Verifier(keys(version), [head], findings.append)
        for source in arranged([from_path(str(p)) for p in LOGS[version].glob("audit.jsonl*")]):
            for line in source.lines():
                verifier.read(line)
            verifier.end_of_file()
        verifier.finish()
        assert NOTES[version] == [finding.what for finding in findings]
        assert (0, 19) == (verifier.tampering, verifier.records)

    def test_can_be_searched(self, version: int) -> None:
        """This release finds who got a token in it, under either key."""
        lines = [
            line
            for source in arranged([from_path(str(p)) for p in LOGS[version].glob("audit.jsonl*")])
            for line in source.lines()
        ]
        fingerprints = search.token_fingerprints(keys(version), Secret("sentinel-token"))
        found = [r for r in search.who_got(lines, fingerprints) if r["kind"] == "request"]
        assert RELEASES[version] == [int(record["audit_id"], 16) for record in found]

    def test_says_its_version(self, version: int) -> None:
        """Each of its opening records names the version of its form."""
        opened = [
            record["version"]
            for path in LOGS[version].glob("audit.jsonl*")
            for line in path.read_bytes().splitlines()
            if b'"kind":"open"' in line and (record := json.loads(line))
        ]
        assert [version] * 4 == opened


def test_the_newest_is_as_the_schema_says() -> None:
    """Each record of the newest log is one of the schema's that is in the package."""
    for path in LOGS[controls.VERSION].glob("audit.jsonl*"):
        for line in path.read_bytes().splitlines():
            if line.endswith(b"}"):
                VALIDATOR.validate(json.loads(line))
