"""Streams of records as tests look at them."""

import io
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from service.audit.chain import START, Head, link
from service.audit.findings import Finding
from service.audit.fingerprints import Keyring
from service.audit.reading import Source
from service.audit.verification import Verifier
from tests.audit.fakes import KEYS


def records(text: bytes) -> list[dict[str, Any]]:
    """Return the lines that are JSON."""
    found = []
    for line in text.splitlines():
        try:
            found.append(orjson.loads(line))
        except ValueError:
            continue
    return found


def kinds(text: bytes) -> list[str]:
    """Return each record's kind, and a request's outcome instead."""
    return [record.get("outcome") or record["kind"] for record in records(text)]


def source(text: bytes, name: str = "f") -> Source:
    """Return a source that reads ``text``."""
    return Source(name, lambda: io.BytesIO(text), len(text))


def verified(
    *texts: bytes, expect: Sequence[Head] = (), keys: Keyring = KEYS
) -> tuple[Verifier, list[Finding]]:
    """Verify ``texts`` as files, in their order."""
    findings: list[Finding] = []
    verifier = Verifier(keys, expect, findings.append)
    for number, text in enumerate(texts, start=1):
        for line in source(text, f"f{number}").lines():
            verifier.read(line)
        verifier.end_of_file()
    verifier.finish()
    return verifier, findings


def verdict(*texts: bytes, expect: Sequence[Head] = ()) -> str:
    """Return the verdict, with what it is made of if that is tampering."""
    verifier, findings = verified(*texts, expect=expect)
    said = [finding.what for finding in findings if finding.is_tampering]
    assert bool(said) is bool(verifier.tampering)
    return "TAMPERED" if said else "intact"


def chained(bodies: Iterable[bytes], chain: str = "0" * 16, keys: Keyring = KEYS) -> bytes:
    """Return ``bodies`` as one chain."""
    digest, text = START.hash.encode(), b""
    for sequence, body in enumerate(bodies, start=1):
        line, digest = link(sequence, digest, chain.encode(), body, keys.newest)
        text += line
    return text
