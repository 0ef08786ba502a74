"""The product as it is configured for the benchmark: everything on, and its variants."""

from typing import Any, Final

from tests.benchmark.material import API_KEY, AUDIENCE, HOLDER, ISSUER, USER_KEY, Material

FIELDS: Final = ["authToken", "tokenSecret", "sessionHandle"]
MANY: Final = 1_000_000


def configuration(
    material: Material, *, name: str, port: int, management: int, upstream: int
) -> dict[str, Any]:
    """Return the configuration with all features on: JWT, grants, limits, audit, metrics, log."""
    way = {"method": "user_key_signed", "user_key": USER_KEY, "secret_file": material["scoped"]}
    cluster = {
        "name": "cluster",
        "method": "jwt",
        "kind": "service_account",
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "keys": {"file": material["jwks.json"]},
    }
    users = {"count": MANY, "window": 3600}
    caller = {
        "name": "crm",
        "identities": [{"via": "cluster", "subject_pattern": "crm/sync-*"}],
        "limits": {"rate": MANY, "burst": MANY, "in_flight": MANY, "distinct_users": users},
        "grants": [{"site": "shop", "providers": ["twitter"], "fields": FIELDS}],
        "candidate_grants": [{"site": "shop", "providers": "all", "fields": FIELDS}],
    }
    gigya = {"url": f"https://localhost:{upstream}", "ca_file": material["ca.pem"]}
    return {
        "version": 1,
        "listeners": {
            "api": {"host": "127.0.0.1", "port": port, "max_in_flight": 1024},
            "management": {"host": "127.0.0.1", "port": management},
        },
        "shutdown": {"delay": 0, "drain": 1},
        "sites": {
            "shop": {
                "api_key": API_KEY,
                "simulator": gigya,
                "partner_secret_files": [material["secret"]],
                "authentication": {"current": way},
            }
        },
        "authentication": [cluster],
        "callers": [caller],
        "upstream": {"concurrency": 512, "queue": 1024},
        "audit": {
            "key_files": [material["audit"]],
            "sinks": [{"name": "file", "type": "file", "path": material[f"{name}.jsonl"]}],
        },
        "logging": {"format": "json"},
    }


def with_cache(settings: dict[str, Any], _: Material) -> None:
    """Answer from memory what was asked less than a minute ago."""
    settings["cache"] = {"enabled": True, "ttl": 60}


def on_disk(settings: dict[str, Any], _: Material) -> None:
    """Wait for the disk before each release."""
    settings["audit"]["sinks"][0] |= {"durability": "disk", "disk_deadline": 5}


def with_bearer(settings: dict[str, Any], material: Material) -> None:
    """Sign a JWT for each call to Gigya: the way that is recommended, and the dearest."""
    way = {"method": "bearer", "user_key": USER_KEY, "key_file": material["user-key.pem"]}
    settings["sites"]["shop"]["authentication"] = {"current": way}


def traced(settings: dict[str, Any], material: Material) -> None:
    """Send spans to a collector, of as many requests as are traced by default."""
    gigya = settings["sites"]["shop"]["simulator"]  # it answers anything, so also a collector's
    settings["tracing"] = {"endpoint": gigya["url"], "ca_file": material["ca.pem"]}


def over_mutual_tls(settings: dict[str, Any], material: Material) -> None:
    """Have callers prove themselves by certificates instead of tokens."""
    settings["listeners"]["api"]["tls"] = {
        "certificate_file": material["server.pem"],
        "key_file": material["server.key"],
        "client_ca_file": material["callers.pem"],
    }
    settings["authentication"] = [{"name": "mesh", "method": "mutual_tls", "identity": "dns"}]
    settings["callers"][0]["identities"] = [{"via": "mesh", "subject": HOLDER}]
