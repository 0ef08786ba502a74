"""What is measured is right: the configurations of the benchmark, each in a process of its own."""

import json
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.benchmark.material import HOLDER, Material
from tests.benchmark.rounds import Started, started, upstream
from tests.benchmark.table import ALL

VARIANTS: Final = tuple(name for name in ALL if name.startswith("product"))
BODY: Final = {
    "site": "shop",
    "provider": "twitter",
    "tokens": {
        "oauth_token": "1234567890-abcdefghijklmnopqrstuvwxyzABCDEFGHIJ",
        "oauth_token_secret": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHI",
        "oauth_session_handle": "handle-abcdefghijklmnopqrstuvwxyz",
    },
    "withheld": [],
    "expires_at": "2035-01-01T00:00:00Z",
    "cached": False,
    "age": 0,
    "gigya_call_id": "b0cce660845e4e40bf3d4663953564f3",
}
UNAUTHENTICATED: Final = {
    "type": "urn:gigya-credential-proxy:problem:unauthenticated",
    "title": "No credential proves who is calling",
    "status": 401,
    "detail": "No credential was given that proves who is calling.",
    "code": "unauthenticated",
    "retryable": False,
}
DENIED: Final = {
    "type": "urn:gigya-credential-proxy:problem:access-denied",
    "title": "No grant allows this",
    "status": 403,
    "detail": "No grant of this caller is for that provider there. "
    "GET /v1/grants lists what this caller may ask for.",
    "code": "access-denied",
    "missing": "provider",
    "retryable": False,
}
POD: Final = {
    "authentication": "cluster",
    "subject": "crm/sync-0",
    "namespace": "crm",
    "pod": "sync-0",
}
CERTIFICATE: Final = {"authentication": "mesh", "subject": HOLDER}
RECORD: Final = {
    "kind": "request",
    "peer": "127.0.0.1",
    "method": "POST",
    "route": "/v1/provider-tokens",
    "site": "shop",
    "provider": "twitter",
    "released": ["authToken", "tokenSecret", "tokenExpiration", "sessionHandle"],
    "withheld": ["providerUID"],
    "names_released": [
        "oauth_token",
        "oauth_token_secret",
        "oauth_expires_in",
        "oauth_session_handle",
    ],
    "decision": "allow",
    "rule": "crm/grants[0]",
    "reason": "granted",
    "would_deny": False,
    "outcome": "released",
    "key_slot": 0,
    "token_expires_at": "2035-01-01T00:00:00.000000Z",
    "status": 200,
}
LINE: Final = {
    "route": "/v1/provider-tokens",
    "method": "POST",
    "caller": "crm",
    "site": "shop",
    "provider": "twitter",
    "outcome": "released",
    "reason": "granted",
    "rule": "crm/grants[0]",
    "would_deny": False,
    "status": 200,
    "gigya_error_code": 0,
    "gigya_call_id": "b0cce660845e4e40bf3d4663953564f3",
    "gigya_attempts": 1,
    "cached": False,
    "event": "request",
    "level": "info",
}
COUNTER: Final = re.compile(r"^credential_proxy_(\w+\{.*\}) (\S+)$", re.MULTILINE)
RECORDED: Final = 'audit_records_total{sink="file"}'
PATIENCE: Final = 50
"""Looks at the metrics, which are rendered once a second, before one says what is missing."""
COUNTED: Final = {
    'requests_total{caller="crm",result="released"}': 1,
    'requests_total{caller="crm",result="refused"}': 1,
    'requests_total{caller="none",result="refused"}': 1,
    'problems_total{code="access-denied"}': 1,
    'problems_total{code="unauthenticated"}': 1,
    'upstream_requests_total{result="ok",site="shop"}': 1,
    'decrypts_total{result="opened",site="shop",slot="0"}': 1,
    RECORDED: 3,
}
BAD: Final = {"Authorization": "Bearer of-nobody"}
VARY: Final = (
    frozenset({"seq", "chain", "time", "received_at", "milliseconds", "build", "configuration"})
    | {"hash", "user", "tokens", "upstream", "timestamp", "gigya_milliseconds", "trace_id"}
    | {"audit_id"}
)
"""Members that chance, the clock or a key give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What requests left behind: answers, records, lines and counters."""

    answers: list[tuple[int, dict[str, Any]]]
    audit_ids: list[str]
    records: list[dict[str, Any]]
    lines: list[dict[str, Any]]
    counted: dict[str, float]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Return what a run of the benchmark works with."""
    made = Material(directory=tmp_path_factory.mktemp("benchmark"))
    made.write()
    return made


def gone(name: str, material: Material, asked: Sequence[tuple[bool, str]]) -> Run:
    """Ask a form for tokens of these providers, with the caller's credential or with a bad one."""
    with (
        upstream(material, core=None) as gigya,
        started(ALL[name], material, gigya, core=None) as server,
    ):
        credentials = {True: _credential(material, server), False: BAD}
        with _caller(material, server) as caller:
            answers = [
                caller.post(
                    "/v1/provider-tokens",
                    headers=credentials[is_good],
                    json={"uid": "user-000001", "provider": provider},
                )
                for is_good, provider in asked
            ]
        settings = _settings(material, server)
        port = settings["listeners"]["management"]["port"]
        counted = _counted(port, records=len(asked))
    told = [json.loads(line) for line in server.log.read_text("utf-8").splitlines()]
    audit = Path(settings["audit"]["sinks"][0]["path"]).read_text("utf-8")
    records = [json.loads(line) for line in audit.splitlines()]
    return Run(
        answers=[(answer.status_code, answer.json()) for answer in answers],
        audit_ids=[answer.headers["Audit-ID"] for answer in answers],
        records=[record for record in records if record["kind"] == "request"],
        lines=[line for line in told if line["event"] == "request"],
        counted=counted,
    )


def _counted(port: int, *, records: int) -> dict[str, float]:
    """Return the counters once so many records are: nobody waits for the disk of a refusal's."""
    counted: dict[str, float] = {}
    for _ in range(PATIENCE):
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        counted = {row[1]: float(row[2]) for row in COUNTER.finditer(metrics)}
        if counted.get(RECORDED, 0) >= records:
            break
        time.sleep(0.1)
    return counted


def _settings(material: Material, server: Started) -> dict[str, Any]:
    file = material.directory / f"{server.form.name}-{server.port}.yaml"
    settings: dict[str, Any] = json.loads(file.read_bytes())
    return settings


def _credential(material: Material, server: Started) -> dict[str, str]:
    text = json.loads(Path(material[server.form.requests]).read_bytes())[0]
    found = re.search("Authorization: (.*)\r\n", text)
    return {} if found is None else {"Authorization": found[1]}


def _caller(material: Material, server: Started) -> httpx.Client:
    if server.form.certificate is None:
        return httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False)
    tls = ssl.create_default_context(cafile=material["ca.pem"])
    tls.load_cert_chain(material[server.form.certificate])
    return httpx.Client(base_url=f"https://localhost:{server.port}", verify=tls, trust_env=False)


def steady(what: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record or line without what varies and without its caller."""
    return {name: value for name, value in what.items() if name not in VARY and name != "caller"}


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_measured_is_the_whole_job(name: str, material: Material) -> None:
    """Each measured form of the product releases, refuses, records, logs and counts."""
    run = gone(name, material, [(True, "twitter"), (False, "twitter"), (True, "facebook")])
    audit_id, *_ = run.audit_ids

    (status, body), unproved, denied = run.answers
    left = body["tokens"].pop("oauth_expires_in")
    assert (200, {**BODY, "audit_id": audit_id}) == (status, body)
    assert left > 0
    assert (401, {**UNAUTHENTICATED, "audit_id": run.audit_ids[1]}) == unproved
    assert (403, {**DENIED, "audit_id": run.audit_ids[2]}) == denied

    assert run.audit_ids == [record["audit_id"] for record in run.records]
    assert RECORD == steady(run.records[0])
    who = CERTIFICATE if name == "product-mtls" else POD
    assert {"name": "crm", **who}.items() <= run.records[0]["caller"].items()
    assert set(BODY["tokens"]) == set(run.records[0]["tokens"])  # type: ignore[call-overload]  # a dict
    assert {"error_code": 0, "attempts": 1, "cached": False}.items() <= run.records[0][
        "upstream"
    ].items()
    assert ["unauthenticated", "access-denied"] == [r["outcome"] for r in run.records[1:]]

    assert run.audit_ids == [line["audit_id"] for line in run.lines]
    assert LINE == {**steady(run.lines[0]), "caller": run.lines[0]["caller"]}
    assert [401, 403] == [line["status"] for line in run.lines[1:]]

    assert COUNTED == {name: run.counted.get(name) for name in COUNTED}


def test_a_cache_hit_is_a_hit(material: Material) -> None:
    """The form that is measured for its cache answers the second request without Gigya."""
    run = gone("product-cache", material, [(True, "twitter")] * 2)

    assert [(200, False), (200, True)] == [(status, body["cached"]) for status, body in run.answers]
    assert run.counted['upstream_requests_total{result="ok",site="shop"}'] == 1
