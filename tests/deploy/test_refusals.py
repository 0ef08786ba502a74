"""What the chart refuses: by its own sentences, and by the schema of the values."""

import re
from functools import partial
from importlib import import_module
from typing import Any, Final

import pytest

from deploy import chart
from tests.deploy.charts import objects, values

pytestmark = pytest.mark.needs_tools

TEMPLATES: Final = chart.CHART / "templates"
SOCKET: Final = {"name": "socket", "mountPath": "/socket"}
PARTNER: Final = [{"key": "partner", "path": "partner-secret"}]


def caller(via: str, **identity: str) -> dict[str, Any]:
    """Return a caller with one identity."""
    grants = [{"site": "shop", "providers": ["facebook"], "fields": ["providerUID"]}]
    return {"name": "caller", "identities": [{"via": via, **identity}], "grants": grants}


def sink(kind: str, **more: str) -> dict[str, str]:
    """Return a sink of a kind."""
    return {"name": f"{kind}{len(more.get('path', ''))}", "type": kind, **more}


NOT_MOUNTED: Final = "names a file that nothing mounts"
MOUNTS: Final = [{"name": "gigya", "secretName": "a"}, {"name": "audit", "secretName": "b"}]

REFUSED: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "config.listeners.api.tls is missing": ("mesh", {"tls__acceptPlainHttp": False}),
    "tls.acceptPlainHttp is set, but": ("tls", {"tls__acceptPlainHttp": True}),
    "tls.secretName and tls.certificate.enabled are both set": (
        "full",
        {"tls__secretName": "other"},
    ),
    "tls.certificate.issuerRef.name is missing": ("full", {"tls__certificate__issuerRef": {}}),
    "a TLS Secret is mounted at /tls, but": ("mesh", {"tls__secretName": "proxy-tls"}),
    "is this pod alone: nobody would reach it": (
        "tls",
        {"config__listeners__management": {"host": "127.0.0.1"}},
    ),
    "port is 0: the Service could not name it": ("tls", {"config__listeners__api__port": 0}),
    "config.listeners.management.port is the API's": (
        "tls",
        {"config__listeners__management": {"port": 8080}},
    ),
    NOT_MOUNTED: ("tls", {"secretMounts": [MOUNTS[0]]}),
    "secretMounts has the name gigya twice": ("tls", {"secretMounts": [*MOUNTS, MOUNTS[0]]}),
    "secretMounts has the name simulator": (
        "staging",
        {"secretMounts": [{"name": "simulator", "secretName": "a"}]},
    ),
    "is a simulator's, but simulator.enabled is false": (
        "staging",
        {
            "simulator__enabled": False,
            "secretMounts": [{"name": "simulator", "secretName": "a"}],
        },
    ),
    "simulator.enabled is set, but no site": ("tls", {"simulator__enabled": True}),
    "autoscaling.enabled needs resources.requests.cpu": (
        "full",
        {"resources": {"requests": {"cpu": None}}},
    ),
    "autoscaling.minReplicas is more than autoscaling.maxReplicas": (
        "full",
        {"autoscaling__minReplicas": 10},
    ),
    "image.tag latest is not a version": ("tls", {"image": {"tag": "latest"}}),
    "prober.uid is missing": ("full", {"prober__uid": ""}),
    "prober.site is not in config.sites: shpo": ("full", {"prober__site": "shpo"}),
    "asks for a certificate, and the prober has none": (
        "mutual-tls",
        {"prober": {"enabled": True, "site": "shop", "provider": "google", "uid": "u"}},
    ),
    "nothing in config.authentication takes a service account's token for other": (
        "full",
        {"prober__audience": "other"},
    ),
    "is the prober: its subject is gigya-credential-proxy/gigya-credential-proxy-prober": (
        "full",
        {"config__callers": [caller("cluster", subject_pattern="*/prober")]},
    ),
    "config.audit.sinks[1].path is in a mount that is read-only: /secrets/gigya": (
        "full",
        {
            "config__audit__sinks": [
                sink("stdout"),
                sink("file", path="/secrets/gigya/a.jsonl"),
                sink("file", path="/audit/a.jsonl"),
            ]
        },
    ),
    "names a file that the mount at /secrets/gigya does not have: user": (
        "mesh",
        {"secretMounts": [{**MOUNTS[0], "items": PARTNER}, MOUNTS[1]]},
    ),
    "podSecurity.fsGroup is null, but runAsUser is not": (
        "tls",
        {"podSecurity": {"fsGroup": None}},
    ),
    "config.sites.staging.simulator.url is not this release's simulator: https://gigya": (
        "staging",
        {"config__sites__staging__simulator__url": "https://simulator.other.svc:9321"},
    ),
    "audit.volume is mounted at /audit, but": ("tls", {"audit__volume": {"emptyDir": {}}}),
}
"""Sentence -> shape and changes that bring it up."""

GOOD_CONTAINER: Final[dict[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}


def beside(**security: Any) -> dict[str, Any]:
    """Return values with one more container, whose security context is changed."""
    context = {key: each for key, each in {**GOOD_CONTAINER, **security}.items() if each != ...}
    container = {"name": "a", "image": "registry.example.com/a:1", "securityContext": context}
    return {"extraContainers": [container]}


def besides(**changes: Any) -> dict[str, Any]:
    """Return values with one more container, changed."""
    (container,) = beside()["extraContainers"]
    return {"extraContainers": [{**container, **changes}]}


OWN: Final = "app.kubernetes.io/component"
BAD_VALUES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "root as the user": ("/podSecurity/runAsUser", {"podSecurity": {"runAsUser": 0}}),
    "root as the group of files": ("/podSecurity/fsGroup", {"podSecurity": {"fsGroup": 0}}),
    "a Secret and a CSI volume in one": (
        "/secretMounts/0",
        {"secretMounts": [{"name": "a", "secretName": "b", "csi": {"driver": "c"}}]},
    ),
    "a mount of neither": ("/secretMounts/0", {"secretMounts": [{"name": "a"}]}),
    "a mount that leads elsewhere": (
        "/secretMounts/0/name",
        {"secretMounts": [{"name": "../a", "secretName": "b"}]},
    ),
    "a digest that is none": ("/image/digest", {"image": {"digest": "sha256:12"}}),
    "a budget that stops every drain": (
        "/podDisruptionBudget/maxUnavailable",
        {"podDisruptionBudget": {"maxUnavailable": 0}},
    ),
    "the node's directories for the audit": (
        "/audit/volume",
        {"audit": {"volume": {"hostPath": {}}}},
    ),
    "the node's directories": (
        "/extraVolumes/0",
        {"extraVolumes": [{"name": "a", "hostPath": {}}]},
    ),
    "a file that is never replaced": (
        "/extraVolumeMounts/0",
        {"extraVolumeMounts": [{"name": "a", "mountPath": "/a", "subPath": "b"}]},
    ),
    "no monitoring at all": ("/networkPolicy/monitoring", {"networkPolicy": {"monitoring": []}}),
    "no DNS at all": ("/networkPolicy/dnsPorts", {"networkPolicy": {"dnsPorts": []}}),
    "no room to end": ("/terminationMargin", {"terminationMargin": 0}),
    "a container that may do everything": (
        "/extraContainers/0/securityContext/privileged",
        beside(privileged=True),
    ),
    "a container of which nothing is said": (
        "/extraContainers/0",
        {"extraContainers": [{"name": "a", "image": "a:1"}]},
    ),
    "a container that may become more": (
        "/extraContainers/0/securityContext",
        beside(allowPrivilegeEscalation=...),
    ),
    "a container with its capabilities": (
        "/extraContainers/0/securityContext",
        beside(capabilities=...),
    ),
    "a container with some capabilities": (
        "/extraContainers/0/securityContext/capabilities/drop",
        beside(capabilities={"drop": ["NET_RAW"]}),
    ),
    "a container with one capability more": (
        "/extraContainers/0/securityContext/capabilities/add/0",
        beside(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
    ),
    "a container as root": (
        "/extraContainers/0/securityContext/runAsUser",
        beside(runAsUser=0),
    ),
    "a container without the kernel's filter": (
        "/extraContainers/0/securityContext/seccompProfile/type",
        beside(seccompProfile={"type": "Unconfined"}),
    ),
    "a port of the node": (
        "/extraContainers/0/ports/0",
        besides(ports=[{"containerPort": 1, "hostPort": 1}]),
    ),
    "a container of the latest image": ("/extraContainers/0/image", besides(image="a:latest")),
    "a container of some image": ("/extraContainers/0/image", besides(image="host:5000/a")),
    **{
        f"a label of the chart's own, {key}": (
            f"/{key.replace('__', '/')}/app.kubernetes.io~1component",
            {key: {OWN: "x"}},
        )
        for key in (
            "commonLabels",
            "podLabels",
            "serviceMonitor__labels",
            "prometheusRule__labels",
            "dashboard__labels",
        )
    },
    "a mark of the chart's own": (
        "/podLabels/gigya-credential-proxy~1simulated",
        {"podLabels": {"gigya-credential-proxy/simulated": "false"}},
    ),
    "a checksum that never changes": (
        "/podAnnotations/checksum~1config",
        {"podAnnotations": {"checksum/config": "x"}},
    ),
}
"""What -> where the chart's schema refuses it, and the changes; what is allowed stands below."""

BAD_SETTINGS: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "no configuration": ("/config", "tls", {"config": {}}),
    "an unknown value": ("", "tls", {"replicas": 3}),
    "an unknown setting": ("/config", "tls", {"config__shutdwn": {"delay": 5}}),
    "an unknown setting of a site": (
        "/config/sites/shop",
        "tls",
        {"config__sites__shop__secret": "x"},
    ),
    "a setting of another type": (
        "/config/shutdown/delay",
        "tls",
        {"config__shutdown": {"delay": "5"}},
    ),
    "no sites": ("/config/sites", "tls", {"config__sites": {}}),
    "no audit keys": ("/config/audit/key_files", "tls", {"config__audit__key_files": []}),
    "a method that there is not": (
        "/config/authentication/0/method",
        "mesh",
        {"config__authentication": [{"name": "a", "method": "none"}]},
    ),
}
"""What -> where the schema of the service, inside the chart's, refuses it, shape and changes."""


def refusal(shape: str, changes: dict[str, Any]) -> str:
    """Return what Helm says to values that it must not take."""
    helm: Any = import_module("helm_python")
    with pytest.raises(helm.HelmError) as told:
        chart.render(values(shape, **changes))
    return str(told.value)


TOLD: Final = {sentence: partial(refusal, *row) for sentence, row in REFUSED.items()}


class TestRefusals:
    @pytest.mark.parametrize("sentence", REFUSED)
    def test_says(self, sentence: str) -> None:
        """What would be insecure or broken is refused in a sentence that says what to do."""
        assert sentence in TOLD[sentence]()

    def test_are_all_tested(self) -> None:
        """Each sentence of the chart is brought up by one test, and by no other."""
        text = "".join(file.read_text("utf-8") for file in TEMPLATES.iterdir())
        sentences = re.findall(r'fail (?:\(printf )?"([^"]+)"', text)
        patterns = [".*".join(map(re.escape, re.split("%[sd]", each))) for each in sentences]
        told = [tell() for tell in TOLD.values()]
        by = [sum(bool(re.search(pattern, each)) for each in told) for pattern in patterns]

        assert [] == [each for each, times in zip(sentences, by, strict=True) if times == 0]
        assert len(told) == sum(by)

    def test_names_what_is_required_of_accounts(self) -> None:
        """Who makes no service account must name one."""
        told = refusal("tls", {"serviceAccount": {"create": False}})

        assert "serviceAccount.name is needed where serviceAccount.create is false" in told


class TestAllowed:
    """What looks like something refused, and works."""

    @pytest.mark.parametrize(
        ("shape", "changes"),
        [
            ("full", {"config__callers": [caller("cluster", subject_pattern="*/*-prober")]}),
            ("full", {"config__callers": [], "prober__tokenSecret": "t"}),
            ("tls", {"podSecurity": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}),
            ("tls", {"podSecurity": {"runAsUser": None}}),
            ("mesh", {"config__audit__sinks": [sink("stdout")], "audit__volume": {}}),
            ("full", {"extraVolumeMounts": [{**SOCKET, "readOnly": True}]}),
            ("tls", beside(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]})),
            ("tls", besides(image="a@sha256:" + "0" * 64, ports=[{"containerPort": 1}])),
            ("tls", {"podLabels": {"app.kubernetes.io/part-of": "x", "version": "1"}}),
        ],
        ids=[
            "the prober by a pattern",
            "the prober by a token of its own",
            "ids of the platform",
            "a group without a user",
            "no sink that has a file",
            "a socket in a mount that is read-only",
            "a container with the one capability that restricted pods may have",
            "a container of a digest, with a port",
            "labels of nobody",
        ],
    )
    def test_is_rendered(self, shape: str, changes: dict[str, Any]) -> None:
        """It is rendered."""
        assert objects(shape, **changes)


class TestSchema:
    @pytest.mark.parametrize("what", BAD_VALUES)
    def test_refuses_what_is_insecure(self, what: str) -> None:
        """What would be insecure or could not work is refused where it stands."""
        place, changes = BAD_VALUES[what]

        assert f"- at '{place}'" in refusal("tls", changes)

    @pytest.mark.parametrize("what", BAD_SETTINGS)
    def test_refuses(self, what: str) -> None:
        """What the service would refuse is refused where it stands, before a pod starts."""
        place, shape, changes = BAD_SETTINGS[what]

        assert f"- at '{place}'" in refusal(shape, changes)
