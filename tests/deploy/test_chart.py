"""The chart, rendered by the real Helm engine; kubernetes-validate has Kubernetes' own schemas."""

import math
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy import chart
from service.__main__ import main, parser
from service.settings.reload import RELOADED
from tests.deploy.charts import SHAPES, name_of, notes, objects, one, pods, values

pytestmark = pytest.mark.needs_tools

OLDEST, NEWEST = "1.30", "1.37"
CUSTOM: Final = frozenset({"Certificate", "ServiceMonitor", "PrometheusRule"})
"""Kinds that cert-manager and the Prometheus operator bring; no schema of theirs is here."""
LOUDER: Final = {"config__logging": {"level": "debug"}}
TOKEN_DIRECTORY: Final = "/var/run/secrets/kubernetes.io/serviceaccount"

every_shape = pytest.mark.parametrize("shape", [name_of(path) for path in SHAPES])


def secret_volumes(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the volumes of Secrets and CSI drivers of every pod."""
    volumes = [volume for pod in pods(found) for volume in pod["spec"].get("volumes", [])]
    return [each for each in volumes if {"secret", "csi", "projected"} & set(each)]


def probers(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pods that probe regularly."""
    specs = [pod["spec"] for pod in pods([each for each in found if each["kind"] != "Pod"])]
    return [each for each in specs if each["containers"][0]["name"] == "probe"]


@every_shape
class TestEveryShape:
    def test_is_linted(self, shape: str) -> None:
        """Helm lint, strict, has nothing to say."""
        helm: Any = import_module("helm_python")
        report = helm.lint(str(chart.CHART), values(shape), strict=True)

        said = [each for each in report["messages"] if each["severity"] > 1]
        assert ([], []) == (said, report["errors"])

    @pytest.mark.parametrize("version", [OLDEST, NEWEST])
    def test_is_valid(self, shape: str, version: str) -> None:
        """Every object fits the strict schema of the oldest and newest supported Kubernetes."""
        kubernetes: Any = import_module("kubernetes_validate")
        for each in objects(shape):
            if each["kind"] not in CUSTOM:
                assert kubernetes.validate(each, version, strict=True) == version

    def test_is_restricted(self, shape: str) -> None:
        """Every pod is what the pod security standard "restricted" asks, and more."""
        for pod in pods(objects(shape)):
            spec = pod["spec"]
            assert spec["securityContext"]["runAsNonRoot"] is True
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert spec["securityContext"].get("runAsUser") != 0
            assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
            assert spec["automountServiceAccountToken"] is False
            for volume in spec.get("volumes", []):
                kinds = {"configMap", "secret", "projected", "csi", "emptyDir"}
                assert {*volume} - {"name"} <= kinds | {"persistentVolumeClaim"}
            for container in spec["containers"]:
                context = container["securityContext"]
                assert context["allowPrivilegeEscalation"] is False
                assert context["readOnlyRootFilesystem"] is True
                assert context["capabilities"] == {"drop": ["ALL"]}
                assert all("hostPort" not in port for port in container.get("ports", []))

    def test_configuration_passes_the_check(self, shape: str, tmp_path: Path) -> None:
        """What the ConfigMap holds has no fault for the service's own check."""
        file = tmp_path / "config.yaml"
        file.write_text(one(objects(shape), "ConfigMap")["data"]["config.yaml"], "utf-8")

        assert main(["check", "--config", str(file), "--without-files"]) == 0

    def test_has_no_secret_and_no_environment(self, shape: str) -> None:
        """No Secret is made but the simulator's, and none reaches an environment."""
        found = objects(shape)
        made = [each["metadata"]["name"] for each in found if each["kind"] == "Secret"]
        simulators = ["gigya-credential-proxy-simulator"] if shape == "staging" else []

        assert made == simulators
        for pod in pods(found):
            for container in pod["spec"]["containers"]:
                assert "secretKeyRef" not in yaml.safe_dump(container.get("env", []))
                assert "envFrom" not in container

    def test_mounts_secrets_for_the_group_alone(self, shape: str) -> None:
        """Secrets are files of mode 0440, whole directories, so that they can be replaced."""
        found = objects(shape)
        for volume in secret_volumes(found):
            mode = (volume.get("secret") or volume.get("projected") or {}).get("defaultMode", 0o440)
            assert mode == 0o440
        for pod in pods(found):
            mounts = [m for c in pod["spec"]["containers"] for m in c.get("volumeMounts", [])]
            assert [] == [m for m in mounts if "subPath" in m]

    def test_has_no_ingress(self, shape: str) -> None:
        """Nothing makes the service reachable from outside of the cluster."""
        found = objects(shape)
        kinds = {each["kind"] for each in found}
        types = {each["spec"]["type"] for each in found if each["kind"] == "Service"}

        assert (set(), {"ClusterIP"}) == (kinds & {"Ingress", "HTTPRoute"}, types)

    def test_is_named_in_one_namespace(self, shape: str) -> None:
        """Every object has the release's namespace, or none because it is the cluster's."""
        names = {each["metadata"].get("namespace") for each in objects(shape)}

        assert names <= {chart.NAME, None}


class TestDeployment:
    def test_waits_longer_than_delay_and_drain(self) -> None:
        """The kubelet kills later than the service has ended by itself."""
        spec = one(objects("full"), "Deployment")["spec"]["template"]["spec"]
        grace = spec["terminationGracePeriodSeconds"]

        assert grace == math.ceil(10 + 30.5 + 15)

    def test_restarts_for_what_cannot_be_reloaded(self) -> None:
        """A change of the site changes the pods' annotation; what is reloaded does not."""

        def checksum(**changes: Any) -> str:
            template = one(objects("tls", **changes), "Deployment")["spec"]["template"]
            found: str = template["metadata"]["annotations"]["checksum/config"]
            return found

        same: dict[tuple[str, ...], dict[str, Any]] = {
            ("callers",): {"config__callers": []},
            ("logging", "level"): LOUDER,
        }

        assert set(RELOADED) == set(same)
        assert {checksum()} == {checksum(**changes) for changes in same.values()}
        assert checksum() != checksum(config__logging={"format": "console"})
        assert checksum() != checksum(config__sites__shop__data_center="us1")

    def test_restarts_for_no_other_version_of_the_chart(self) -> None:
        """Labels of pods name no version: a new chart alone restarts nothing."""
        template = one(objects("tls"), "Deployment")["spec"]["template"]

        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(
            template["metadata"]["labels"]
        )

    def test_has_three_probes_that_ask_this_pod_alone(self) -> None:
        """Startup and liveness ask /livez, readiness /readyz, at the management port."""
        (container,) = one(objects("tls"), "Deployment")["spec"]["template"]["spec"]["containers"]
        probes = {key: container[key]["httpGet"] for key in container if key.endswith("Probe")}

        assert probes == {
            "startupProbe": {"path": "/livez", "port": "management"},
            "livenessProbe": {"path": "/livez", "port": "management"},
            "readinessProbe": {"path": "/readyz", "port": "management"},
        }

    def test_leaves_ids_to_the_platform(self) -> None:
        """With null as user and group, nothing is asked for that OpenShift would refuse."""
        context = one(objects("platform-ids"), "Deployment")["spec"]["template"]["spec"][
            "securityContext"
        ]

        assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}

    def test_gives_each_pod_its_own_audit_directory(self) -> None:
        """On a volume that pods share, each writes to a directory of its own."""
        containers = one(objects("full"), "Deployment")["spec"]["template"]["spec"]["containers"]
        mounts = {m["mountPath"]: m for m in containers[0]["volumeMounts"]}

        assert mounts["/audit"]["subPathExpr"] == "$(POD_NAME)"

    def test_has_replicas_only_where_nothing_scales(self) -> None:
        """Where the autoscaler decides, an upgrade does not."""
        assert "replicas" not in one(objects("full"), "Deployment")["spec"]
        assert one(objects("tls"), "Deployment")["spec"]["replicas"] == 2


class TestStaging:
    @pytest.mark.parametrize(("shape", "marks"), [("staging", {"true"}), ("tls", {None})])
    def test_is_marked(self, shape: str, marks: set[str | None]) -> None:
        """Pods that ask the simulator say so in a label that policies can go by."""
        template = one(objects(shape), "Deployment")["spec"]["template"]

        assert {template["metadata"]["labels"].get("gigya-credential-proxy/simulated")} == marks

    def test_simulator_serves_tls_with_its_own_authority(self) -> None:
        """It is asked over HTTPS, believed by the chart's own CA, and reaches nobody."""
        found = objects("staging")
        site = yaml.safe_load(one(found, "ConfigMap")["data"]["config.yaml"])["sites"]["staging"]
        policy = one(found, "NetworkPolicy", f"{chart.NAME}-simulator")["spec"]

        assert site["simulator"]["url"].startswith("https://")
        assert site["simulator"]["ca_file"] == "/secrets/simulator/ca.pem"
        assert policy["egress"] == []


class TestOwnToken:
    @pytest.mark.parametrize(
        ("shape", "roles"),
        [
            ("mesh", set()),
            ("csi", set()),
            ("mutual-tls", set()),
            ("tls", {"system:service-account-issuer-discovery"}),
            ("full", {"gigya-credential-proxy-gigya-credential-proxy-reviewer"}),
        ],
    )
    def test_is_there_only_where_it_is_needed(self, shape: str, roles: set[str]) -> None:
        """A token and a right only for TokenReview, or for keys that the API server shows."""
        found = objects(shape)
        bound = {o["roleRef"]["name"] for o in found if o["kind"] == "ClusterRoleBinding"}
        (proxy,) = one(found, "Deployment")["spec"]["template"]["spec"]["containers"][:1]
        is_mounted = any(m["mountPath"] == TOKEN_DIRECTORY for m in proxy["volumeMounts"])

        assert (roles, bool(roles)) == (bound, is_mounted)

    def test_may_only_ask_for_reviews(self) -> None:
        """The one role that is made has the one right."""
        name = "gigya-credential-proxy-gigya-credential-proxy-reviewer"

        assert one(objects("full"), "ClusterRole", name)["rules"] == [
            {
                "apiGroups": ["authentication.k8s.io"],
                "resources": ["tokenreviews"],
                "verbs": ["create"],
            }
        ]

    def test_rights_can_be_left_to_others(self) -> None:
        """Where rbac.create is false, whoever installs needs no right over roles."""
        kinds = {each["kind"] for each in objects("full", rbac__create=False)}

        assert not {"ClusterRole", "ClusterRoleBinding"} & kinds


class TestNetworkPolicy:
    """Egress is what the configuration needs, and nothing else."""

    @staticmethod
    def ports(shape: str, **changes: Any) -> set[int]:
        """Return the ports to which something may go out, but for DNS."""
        policy = one(objects(shape, **changes), "NetworkPolicy")
        return {p["port"] for rule in policy["spec"]["egress"] for p in rule["ports"]} - {53}

    @pytest.mark.parametrize(
        ("shape", "expected"),
        [
            ("mesh", {443}),
            ("tls", {443, 6443}),
            ("csi", {443, 8443}),
            ("full", {3128, 443, 6443, 6514}),
            ("staging", {443, 6443, 9321}),
        ],
    )
    def test_lets_out_to(self, shape: str, expected: set[int]) -> None:
        """Ports follow from sites, proxy, API server, issuers and simulator."""
        assert expected == self.ports(shape)

    def test_reaches_gigya_only_through_the_proxy(self) -> None:
        """With a proxy on the way, public addresses are not reached."""
        policy = one(objects("full"), "NetworkPolicy")

        assert "0.0.0.0/0" not in yaml.safe_dump(policy)

    def test_keeps_private_addresses_out_of_gigyas(self) -> None:
        """What is let out to Gigya is no address of the cluster or of a cloud's metadata."""
        (rule,) = (
            rule
            for rule in one(objects("mesh"), "NetworkPolicy")["spec"]["egress"]
            if rule["ports"][0]["port"] == 443
        )
        kept_out = {each for to in rule["to"] for each in to["ipBlock"]["except"]}

        assert {"10.0.0.0/8", "169.254.0.0/16", "fc00::/7"} <= kept_out

    @pytest.mark.parametrize(
        ("shape", "peer"),
        [
            (
                "tls",
                {
                    "matchExpressions": [
                        {
                            "key": "kubernetes.io/metadata.name",
                            "operator": "In",
                            "values": ["crm"],
                        }
                    ]
                },
            ),
            ("mesh", {}),
            ("full", {"matchLabels": {"tokens": "yes"}}),
        ],
        ids=["namespaces of callers", "any, as a static token names none", "as told"],
    )
    def test_lets_in(self, shape: str, peer: dict[str, Any]) -> None:
        """Callers' namespaces where all are known, else every pod of the cluster, or as told."""
        ingress = one(objects(shape), "NetworkPolicy")["spec"]["ingress"]

        assert peer == ingress[0]["from"][0]["namespaceSelector"]
        assert ingress[0]["ports"] == [{"port": "api", "protocol": "TCP"}]

    def test_can_be_left_out(self) -> None:
        """Where the platform has another way, none is made."""
        kinds = {each["kind"] for each in objects("staging", networkPolicy__enabled=False)}

        assert "NetworkPolicy" not in kinds


class TestMonitoring:
    def test_files_of_the_chart_are_filled_in(self) -> None:
        """Rules and dashboard are the chart's own files, as they are."""
        found, files = objects("full"), chart.CHART / "files"
        rules = [each["spec"] for each in found if each["kind"] == "PrometheusRule"]
        boards = [
            each["data"]["gigya-credential-proxy.json"]
            for each in found
            if each["metadata"]["name"].endswith("-dashboard")
        ]

        assert rules == [yaml.safe_load(f.read_text("utf-8")) for f in files.glob("rules.yaml")]
        assert [board.strip() for board in boards] == [
            f.read_text("utf-8").strip() for f in files.glob("dashboard.json")
        ]

    def test_asks_each_pod(self) -> None:
        """The monitor selects the Service that has the management port."""
        found = objects("full")
        wanted = one(found, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
        labels = one(found, "Service", f"{chart.NAME}-metrics")["metadata"]["labels"]

        assert wanted.items() <= labels.items()

    def test_prober_asks_with_a_token_of_its_own(self) -> None:
        """The prober has a token for us and one for somebody else; its subject is its own."""
        (pod,) = probers(objects("full"))
        (token,) = (v["projected"]["sources"] for v in pod["volumes"] if v["name"] == "token")

        assert pod["serviceAccountName"] == "gigya-credential-proxy-prober"
        assert [each["serviceAccountToken"]["audience"] for each in token] == [
            "gigya-credential-proxy",
            "gigya-credential-proxy-other",
        ]

    @pytest.mark.parametrize(
        ("changes", "kind"),
        [
            ({}, "Deployment"),
            ({"serviceMonitor__enabled": False}, "CronJob"),
            ({"prober__kind": "CronJob"}, "CronJob"),
            ({"prober__kind": "Deployment", "serviceMonitor__enabled": False}, "Deployment"),
        ],
    )
    def test_prober_stays_where_its_metrics_are_read(
        self, changes: dict[str, Any], kind: str
    ) -> None:
        """An alert needs metrics that somebody reads; else a CronJob fails."""
        found = objects("full", **changes)
        kinds = {o["kind"] for o in found if o["metadata"]["name"] == f"{chart.NAME}-prober"}

        assert kinds == {"ServiceAccount", kind} | ({"Service"} if kind == "Deployment" else set())

    @pytest.mark.parametrize("kind", ["Deployment", "CronJob"])
    def test_prober_is_started_as_the_command_wants(self, kind: str) -> None:
        """Its arguments are those of the command line."""
        for pod in probers(objects("full", prober__kind=kind)):
            args = parser().parse_args(pod["containers"][0]["args"])
            assert (args.site, args.uid) == ("shop", "synthetic-user")

    def test_prober_may_show_another_token(self) -> None:
        """Where callers are not known by service accounts, it shows a token of a Secret."""
        (pod,) = probers(objects("full", prober__tokenSecret="probers-token"))
        (token,) = (v["secret"] for v in pod["volumes"] if v["name"] == "token")

        assert token["secretName"] == "probers-token"

    def test_asks_the_prober_too(self) -> None:
        """The monitor selects the prober's Service as well."""
        found = objects("full")
        wanted = one(found, "ServiceMonitor")["spec"]["selector"]["matchLabels"]

        assert (
            wanted.items()
            <= one(found, "Service", f"{chart.NAME}-prober")["metadata"]["labels"].items()
        )


class TestNotes:
    @pytest.mark.parametrize(
        ("shape", "changes", "said"),
        [
            ("tls", {}, "check --config"),
            ("tls", {"config__callers": []}, "every request is refused"),
            ("tls", {"replicaCount": 1}, "every node drain is an outage"),
            ("tls", {"networkPolicy__enabled": False}, "networkPolicy.enabled is false"),
            ("mesh", {}, "plain HTTP"),
            ("staging", {}, "STAGING"),
            ("tls", {}, "nothing watches this release"),
        ],
    )
    def test_say_what_to_do_next(self, shape: str, changes: dict[str, Any], said: str) -> None:
        """The notes say what comes next, and what is unusual about these values."""
        assert said in notes(shape, **changes)

    def test_are_silent_about_what_is_usual(self) -> None:
        """Where nothing is unusual, no note says so."""
        assert "NOTE" not in notes("full")


class TestManifests:
    def test_are_what_is_rendered(self) -> None:
        """The plain manifests are a render of the chart; python deploy/chart.py write."""
        assert chart.manifests() == chart.MANIFESTS.read_text("utf-8")


class TestExtraObjects:
    def test_are_templates(self) -> None:
        """What is added may use the chart's own names."""
        assert one(objects("full"), "ConfigMap", f"{chart.NAME}-runbook")


class TestFirstRelease:
    @pytest.mark.parametrize(
        "path",
        sorted((Path(__file__).parent / "values-0.1.0").glob("*.yaml")),
        ids=lambda path: path.stem,
    )
    def test_values_still_render(self, path: Path) -> None:
        """What was installed with version 0.1.0 can be upgraded with its values."""
        rendered = chart.render(yaml.safe_load(path.read_text("utf-8")))

        assert "kind: Deployment" in rendered[f"{chart.NAME}/templates/deployment.yaml"]
