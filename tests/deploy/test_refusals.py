"""What the chart refuses: by its own sentences, and by the schema of the values."""

import re
from importlib import import_module
from typing import Any, Final

import pytest

from deploy import chart
from tests.deploy.charts import values

pytestmark = pytest.mark.needs_tools

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
    "secretMounts has the name": ("tls", {"secretMounts": [*MOUNTS, MOUNTS[0]]}),
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
    "is missing": ("full", {"prober__uid": ""}),
    "audit.volume is mounted at /audit, but": ("tls", {"audit__volume": {"emptyDir": {}}}),
}
"""Sentence -> shape and changes that bring it up."""

BAD_SHAPES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "no configuration": ("tls", {"config": {}}),
    "an unknown value": ("tls", {"replicas": 3}),
    "an unknown setting": ("tls", {"config__shutdwn": {"delay": 5}}),
    "an unknown setting of a site": ("tls", {"config__sites__shop__secret": "x"}),
    "a setting of another type": ("tls", {"config__shutdown": {"delay": "5"}}),
    "no sites": ("tls", {"config__sites": {}}),
    "no audit keys": ("tls", {"config__audit__key_files": []}),
    "a method that there is not": (
        "mesh",
        {"config__authentication": [{"name": "a", "method": "none"}]},
    ),
    "root as the user": ("tls", {"podSecurity": {"runAsUser": 0}}),
    "a Secret and a CSI volume in one": (
        "tls",
        {"secretMounts": [{"name": "a", "secretName": "b", "csi": {"driver": "c"}}]},
    ),
    "a mount of neither": ("tls", {"secretMounts": [{"name": "a"}]}),
    "a mount that leads elsewhere": (
        "tls",
        {"secretMounts": [{"name": "../a", "secretName": "b"}]},
    ),
    "a digest that is none": ("tls", {"image": {"digest": "sha256:12"}}),
    "a budget that stops every drain": ("tls", {"podDisruptionBudget": {"maxUnavailable": 0}}),
    "the node's directories for the audit": ("tls", {"audit": {"volume": {"hostPath": {}}}}),
    "the node's directories": ("tls", {"extraVolumes": [{"name": "a", "hostPath": {}}]}),
    "a file that is never replaced": (
        "tls",
        {"extraVolumeMounts": [{"name": "a", "mountPath": "/a", "subPath": "b"}]},
    ),
    "no monitoring at all": ("tls", {"networkPolicy": {"monitoring": []}}),
    "no room to end": ("tls", {"terminationMargin": 0}),
}
"""What -> shape and changes that the schema refuses."""


def refusal(shape: str, changes: dict[str, Any]) -> str:
    """Return what Helm says to values that it must not take."""
    helm: Any = import_module("helm_python")
    with pytest.raises(helm.HelmError) as told:
        chart.render(values(shape, **changes))
    return str(told.value)


class TestRefusals:
    @pytest.mark.parametrize("sentence", REFUSED)
    def test_says(self, sentence: str) -> None:
        """What would be insecure or broken is refused in a sentence that says what to do."""
        assert sentence in refusal(*REFUSED[sentence])

    def test_are_all_tested(self) -> None:
        """There is no sentence in the chart that no test brings up."""
        text = (chart.CHART / "templates/_refusals.tpl").read_text("utf-8")
        sentences = re.findall(r'fail (?:\(printf )?"([^"]+)"', text)
        untested = [each for each in sentences if not any(s in each for s in REFUSED)]

        assert ([], len(REFUSED)) == (untested, len(sentences))

    def test_names_what_is_required_of_accounts(self) -> None:
        """Who makes no service account must name one."""
        told = refusal("tls", {"serviceAccount": {"create": False}})

        assert "serviceAccount.name is needed where serviceAccount.create is false" in told


class TestSchema:
    @pytest.mark.parametrize("what", BAD_SHAPES)
    def test_refuses(self, what: str) -> None:
        """What has the wrong shape is refused by the schema before anything is rendered."""
        assert "- at '" in refusal(*BAD_SHAPES[what])
