"""The chart, rendered by the real Helm engine; kubernetes-validate has Kubernetes' own schemas."""

import copy
import hashlib
import json
import math
import re
from importlib import import_module
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy import chart
from service.__main__ import main, parser
from service.settings.reload import RELOADED
from tests.deploy.charts import (
    SHAPES,
    each_object,
    name_of,
    notes,
    objects,
    one,
    pods,
    values,
)

pytestmark = pytest.mark.needs_tools

OLDEST, NEWEST = "1.30", "1.37"
CUSTOM: Final = frozenset({"Certificate", "ServiceMonitor", "PrometheusRule"})
"""Kinds that cert-manager and the Prometheus operator bring; no schema of theirs is here."""
LOUDER: Final = {"config__logging": {"level": "debug"}}
TEMPLATES: Final = chart.CHART / "templates"
NAMESPACE: Final = "kubernetes.io/metadata.name"
CGNAT: Final = "100.64.0.0/10"
"""Addresses that some clouds give to clusters; private, though not by name."""
TOKEN_DIRECTORY: Final = "/var/run/secrets/kubernetes.io/serviceaccount"


def require_valid(found: list[dict[str, Any]], version: str) -> None:
    """Require that every object fits Kubernetes' own strict schema."""
    kubernetes: Any = import_module("kubernetes_validate")
    for each in found:
        if each["kind"] not in CUSTOM:
            assert kubernetes.validate(each, version, strict=True) == version


def require_restricted(found: list[dict[str, Any]]) -> None:
    """Require of every pod what the pod security standard "restricted" asks, and more."""
    for pod in pods(found):
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


every_shape = pytest.mark.parametrize("shape", [name_of(path) for path in SHAPES])


def secret_volumes(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the volumes of Secrets and CSI drivers of every pod."""
    volumes = [volume for pod in pods(found) for volume in pod["spec"].get("volumes", [])]
    return [each for each in volumes if {"secret", "csi", "projected"} & set(each)]


def rules(**changes: Any) -> list[dict[str, Any]]:
    """Return every rule of an installation with everything."""
    groups = one(objects("full", **changes), "PrometheusRule")["spec"]["groups"]
    return [rule for group in copy.deepcopy(groups) for rule in group["rules"]]


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
        require_valid(objects(shape), version)

    def test_is_restricted(self, shape: str) -> None:
        """Every pod is what the pod security standard "restricted" asks, and more."""
        require_restricted(objects(shape))

    def test_has_the_labels_that_selectors_go_by(self, shape: str) -> None:
        """Every object says what it belongs to; no value of an installation changes that."""
        owned = {"app.kubernetes.io/name": chart.NAME, "app.kubernetes.io/instance": chart.NAME}
        found = objects(shape)
        labelled = [each for each in found if not each["metadata"]["name"].endswith("-runbook")]

        assert [] == [o for o in labelled if not owned.items() <= o["metadata"]["labels"].items()]
        for pod in pods(found):
            assert owned.items() <= pod["metadata"]["labels"].items()

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


class TestShapes:
    def test_bring_up_every_kind_of_object_and_volume(self) -> None:
        """What is asserted of every shape is asserted of all that the chart can make."""
        found = [each for path in SHAPES for each in objects(name_of(path))]
        text = "".join(path.read_text("utf-8") for path in TEMPLATES.glob("*.yaml"))
        volumes = {
            kind for pod in pods(found) for v in pod["spec"].get("volumes", []) for kind in v
        }

        assert set(re.findall(r"^kind: (\w+)$", text, re.MULTILINE)) <= {o["kind"] for o in found}
        assert volumes == {"name", "configMap", "secret", "projected", "csi", "emptyDir"} | {
            "persistentVolumeClaim"
        }


class TestNames:
    LONG: Final = "a-release-with-a-name-that-is-as-long-as-helm-has-any"

    @pytest.mark.parametrize(("shape", "kind"), [("platform-ids", "CronJob"), ("full", "Pod")])
    def test_are_short_enough(self, shape: str, kind: str) -> None:
        """They fit what Kubernetes takes, 52 characters for a CronJob, for any release's name."""
        namespace, subject = chart.NAME, f"{chart.NAME}/{self.LONG[:45]}-prober"
        found = values(shape)
        found["config"]["callers"][1]["identities"][0]["subject"] = subject
        made = list(each_object(chart.render(found, name=self.LONG, namespace=namespace)))
        names = {each["metadata"]["name"] for each in made if each["kind"] == kind}
        others = {o["metadata"]["name"] for o in made if "ClusterRole" not in o["kind"]}

        assert names
        assert max(map(len, names)) <= {"CronJob": 52}.get(kind, 63)
        assert max(map(len, others)) <= 63


class TestLabels:
    def test_of_an_installation_are_on_what_they_are_for(self) -> None:
        """Labels of all objects, of pods, and of what operators select."""
        found = objects("full")
        template = one(found, "Deployment")["spec"]["template"]["metadata"]["labels"]

        assert {"team": "identity", "tier": "backend"}.items() <= template.items()
        assert "tier" not in one(found, "Service")["metadata"]["labels"]
        assert one(found, "ServiceMonitor")["metadata"]["labels"]["release"] == "prometheus"

    def test_are_each_there_once(self) -> None:
        """One that is given for all objects and for pods is the pods' on pods."""
        found = objects("full", podLabels={"team": "other"})
        labels = one(found, "Deployment")["spec"]["template"]["metadata"]["labels"]

        assert labels["team"] == "other"

    def test_of_the_service_account_are_its_releases(self) -> None:
        """A service account of another name has that name and no other label for it."""
        account = one(objects("full"), "ServiceAccount", "token-proxy")

        assert account["metadata"]["labels"]["app.kubernetes.io/name"] == chart.NAME
        assert "token-proxy" not in account["metadata"]["labels"].values()


class TestHelmTest:
    """Pods that ask the API port believe whoever signed its certificate."""

    @staticmethod
    def believed(found: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the CA volumes of the pods that ask, and what these are told of them."""
        asking = [p["spec"] for p in pods(found) if p["spec"]["containers"][0]["name"] != "proxy"]
        asking = [each for each in asking if each["containers"][0]["name"] != "simulator"]
        volumes = [v for spec in asking for v in spec.get("volumes", []) if v["name"] == "tls"]
        args = [arg for spec in asking for arg in spec["containers"][0]["args"] if "/tls/" in arg]
        return volumes, args

    @pytest.mark.parametrize("shape", ["tls", "mutual-tls", "platform-ids", "full"])
    def test_starts_where_the_secret_has_no_ca(self, shape: str) -> None:
        """A Secret without the CA, as kubectl makes it, keeps no pod waiting."""
        volumes, args = self.believed(objects(shape))
        items = [{"key": "ca.crt", "path": "ca.crt"}]

        assert volumes
        assert [] == [v for v in volumes if v["secret"]["optional"] is not True]
        assert [] == [v for v in volumes if v["secret"]["items"] != items]
        assert {"/tls/ca.crt", "--ca-file=/tls/ca.crt"} >= set(args)

    def test_takes_the_authority_from_a_config_map(self) -> None:
        """Where a bundle is spread as a ConfigMap, that is believed."""
        changes = {"tests__caConfigMap": "bundle", "tests__caKey": "bundle.pem"}
        volumes, args = self.believed(objects("platform-ids", **changes))

        assert {"bundle"} == {v["configMap"]["name"] for v in volumes}
        assert {"/tls/bundle.pem", "--ca-file=/tls/bundle.pem"} == set(args)

    @pytest.mark.parametrize(("shape", "changes"), [("csi", {}), ("mesh", {})])
    def test_believes_public_authorities_otherwise(
        self, shape: str, changes: dict[str, Any]
    ) -> None:
        """Without a key, or without TLS, nothing is mounted."""
        assert ([], []) == self.believed(objects(shape, **changes))

    def test_prober_goes_on_without_the_ca(self) -> None:
        """The prober's command is told that the file may be absent wherever it is told of it."""
        for pod in probers(objects("full")):
            args = parser().parse_args(pod["containers"][0]["args"])
            assert (str(args.ca_file), args.ca_file_may_be_absent) == ("/tls/ca.crt", True)


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

    def test_simulator_restarts_with_its_keys(self) -> None:
        """Its pod, which reads them once, names the digest of the Secret that is made with it."""
        found = objects("staging")
        secret = one(found, "Secret", f"{chart.NAME}-simulator")
        template = one(found, "Deployment", f"{chart.NAME}-simulator")["spec"]["template"]
        text = json.dumps(secret["data"], sort_keys=True, separators=(",", ":"))

        assert template["metadata"]["annotations"]["checksum/simulator"] == (
            hashlib.sha256(text.encode()).hexdigest()
        )

    @pytest.mark.parametrize(("written", "port"), [(":9321", 9321), ("", 443)])
    def test_simulator_is_at_the_port_that_sites_name(self, written: str, port: int) -> None:
        """Its Service has the port of the URL; policies see the pod's behind it."""
        url = f"https://{chart.NAME}-simulator.{chart.NAME}.svc{written}"
        found = objects("staging", config__sites__staging__simulator__url=url)
        ports = one(found, "Service", f"{chart.NAME}-simulator")["spec"]["ports"]

        assert [port] == [each["port"] for each in ports]
        assert 9321 in TestNetworkPolicy.ports("staging")

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

    def test_has_no_right_here_where_another_cluster_is_asked(self) -> None:
        """Reviews by another cluster's API server need no role in this one."""
        url = "https://api.other.example:16443"
        rows = values("full")["config"]["authentication"]
        found = objects("full", config__authentication=[{**rows[0], "api_server": url}])

        assert not {"ClusterRole", "ClusterRoleBinding"} & {each["kind"] for each in found}

    def test_rights_can_be_left_to_others(self) -> None:
        """Where rbac.create is false, whoever installs needs no right over roles."""
        kinds = {each["kind"] for each in objects("full", rbac__create=False)}

        assert not {"ClusterRole", "ClusterRoleBinding"} & kinds


class TestNetworkPolicy:
    """Egress is what the configuration needs, and nothing else."""

    @staticmethod
    def ports(shape: str, **changes: Any) -> set[int]:
        """Return the ports to which something may go out, but for DNS, which is the first rule."""
        _, *rules = one(objects(shape, **changes), "NetworkPolicy")["spec"]["egress"]
        return {p["port"] for rule in rules for p in rule["ports"]}

    @staticmethod
    def to(port: int, shape: str, **changes: Any) -> list[Any]:
        """Return the peers that may be reached at a port; none is anybody."""
        policy = one(objects(shape, **changes), "NetworkPolicy")
        rules = [
            rule
            for rule in policy["spec"]["egress"]
            if port in {each["port"] for each in rule["ports"]}
        ]
        return [rule.get("to") for rule in rules]

    @pytest.mark.parametrize(
        ("shape", "expected"),
        [
            ("mesh", {443}),
            ("tls", {443, 6443}),
            ("csi", {443, 8443}),
            ("full", {3128, 443, 6443, 4318, 6514}),
            ("staging", {443, 6443, 9321}),
        ],
    )
    def test_lets_out_to(self, shape: str, expected: set[int]) -> None:
        """Ports follow from sites, proxy, API server, issuers, collector and simulator."""
        assert expected == self.ports(shape)

    @pytest.mark.parametrize("shape", ["full", "tls"])
    @pytest.mark.parametrize("keys", [(), ("proxy", "apiServer")], ids=["as told", "as it comes"])
    def test_reaches_gigya_only_through_the_proxy(self, shape: str, keys: tuple[str, ...]) -> None:
        """With a proxy on the way no public address is reached, also by what is given."""
        told = values(shape).get("networkPolicy", {})
        kept = {key: value for key, value in told.items() if key not in keys}
        changes = {
            "networkPolicy": kept,
            "config__upstream": {"proxy_url": "http://egress.example.internal:3128"},
        }
        policy = one(objects(shape, **changes), "NetworkPolicy")
        rules = policy["spec"]["egress"]
        networks = [to["ipBlock"]["cidr"] for rule in rules for to in rule["to"] if "ipBlock" in to]

        assert [] == [
            each for each in networks if not ip_network(each).is_private and each != CGNAT
        ]

    @pytest.mark.parametrize("shape", ["tls", "full", "staging"])
    def test_reaches_the_api_server_at_private_addresses(self, shape: str) -> None:
        """By the API server's ports, which are Gigya's too, no public address is reached."""
        told = values(shape).get("networkPolicy", {})
        told.pop("apiServer", None)
        peers = self.to(6443, shape, networkPolicy=told)

        assert [{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", CGNAT, "fc00::/7"}] == [
            {to["ipBlock"]["cidr"] for to in rule} for rule in peers
        ]

    def test_reaches_the_collector(self) -> None:
        """Spans go to the port of the endpoint, at the peers that are told, or anywhere."""
        peers = [{"namespaceSelector": {"matchLabels": {NAMESPACE: "observability"}}}]
        changes = {"config__tracing": {"endpoint": "https://otlp.example"}}

        assert [peers] == self.to(4318, "full")
        assert [None] == self.to(443, "mesh", **changes)[1:]

    def test_reaches_issuers(self) -> None:
        """Keys come from the port of the issuer, at the peers that are told, or anywhere."""
        peers = [{"ipBlock": {"cidr": "192.0.2.0/24"}}]

        assert [None] == self.to(8443, "csi")
        assert [peers] == self.to(8443, "csi", networkPolicy__issuers=peers)

    @pytest.mark.parametrize(
        ("url", "port", "others"),
        [
            ("https://api.other.example:16443", 16443, {3128, 4318, 6514}),
            ("https://kubernetes.default.svc:8443", 8443, {3128, 443, 6443, 4318, 6514}),
        ],
        ids=["of another cluster", "of this one"],
    )
    def test_reaches_the_api_server_where_it_is(
        self, url: str, port: int, others: set[int]
    ) -> None:
        """Reviews go to the port that the URL names."""
        (row,) = values("full")["config"]["authentication"]
        changes = {"config__authentication": [{**row, "api_server": url}]}

        assert {port, *others} == self.ports("full", **changes)

    def test_resolves_names_at_the_platforms_own_port(self) -> None:
        """DNS is answered at 53 in kube-system, or where the values say, by UDP and TCP."""
        platforms, usual = (
            one(objects(shape), "NetworkPolicy")["spec"]["egress"][0]
            for shape in ("platform-ids", "tls")
        )

        assert [(5353, "UDP"), (5353, "TCP")] == [
            (each["port"], each["protocol"]) for each in platforms["ports"]
        ]
        assert {53} == {each["port"] for each in usual["ports"]}
        assert "openshift-dns" in json.dumps(platforms["to"])

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
        """The dashboard is the chart's own file, as it is."""
        found, files = objects("full"), chart.CHART / "files"
        boards = [
            each["data"]["gigya-credential-proxy.json"]
            for each in found
            if each["metadata"]["name"].endswith("-dashboard")
        ]

        assert boards
        assert [board.strip() for board in boards] == [
            f.read_text("utf-8").strip() for f in files.glob("dashboard.json")
        ]

    def test_rules_are_the_shipped_ones(self) -> None:
        """All rules are there; numbers are those that are shipped, and links are links."""
        shipped = yaml.safe_load((chart.CHART / "files/rules.yaml").read_text("utf-8"))
        rendered = rules(prometheusRule__minReplicas=2)
        links = [rule["annotations"].pop("runbook_url") for rule in rendered if "alert" in rule]
        expected = [rule for group in shipped["groups"] for rule in group["rules"]]
        paths = [rule["annotations"].pop("runbook_url") for rule in expected if "alert" in rule]

        assert expected == rendered
        assert [Path(path).name for path in paths] == [link.rpartition("/")[2] for link in links]
        assert all(link.startswith("https://") for link in links)

    @pytest.mark.parametrize("prefix", ["https://wiki.example/runs", "https://wiki.example/runs/"])
    def test_runbooks_are_where_they_are_said_to_be(self, prefix: str) -> None:
        """A pager's link leads to the copy that the installation has."""
        found = {
            rule["annotations"]["runbook_url"]
            for rule in rules(prometheusRule__runbookUrlPrefix=prefix)
            if rule.get("alert") == "CredentialProxyAbsent"
        }

        assert {"https://wiki.example/runs/CredentialProxyAbsent.md"} == found

    @pytest.mark.parametrize(
        ("changes", "name", "expected"),
        [
            ({}, "replicas", 3),
            ({"autoscaling__enabled": False, "replicaCount": 1}, "replicas", 1),
            ({"prometheusRule__minReplicas": 0}, "replicas", 0),
            ({"prometheusRule__objectives": {"availability": 0.995}}, "availability", 0.005),
            ({"prometheusRule__objectives": {"latency": 0.95}}, "latency", 0.05),
            ({"prometheusRule__ceilings": {"releases": 7}}, "releases", 7),
            ({"prometheusRule__ceilings": {"users": 8}}, "users", 8),
            ({"prometheusRule__ceilings": {"denialsPerMinute": 9}}, "denials_per_minute", 9),
        ],
    )
    def test_numbers_are_the_installations(
        self, changes: dict[str, Any], name: str, expected: float
    ) -> None:
        """Each number that is a matter of taste is a value; replicas go by what is installed."""
        [found] = [
            float(rule["expr"].removeprefix("vector(").removesuffix(")"))
            for rule in rules(**changes)
            if name in rule.get("labels", {}).values() and rule["expr"].startswith("vector(")
        ]

        assert math.isclose(expected, found)

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
            ("csi", {}, "networkPolicy.issuers. These pods may call any address"),
            ("full", {"networkPolicy__proxy": []}, "networkPolicy.proxy. These"),
            ("full", {"networkPolicy__otlp": []}, "networkPolicy.otlp. These"),
            ("tls", {"networkPolicy__apiServer": []}, "networkPolicy.apiServer. These"),
            ("tls", {}, "OpenShift, of DNS caches on nodes"),
            ("full", {}, "must be ReadWriteMany"),
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
        """What was installed with version 0.1.0 can be upgraded with its values, and is as safe."""
        found = list(each_object(chart.render(yaml.safe_load(path.read_text("utf-8")))))

        assert {"Deployment", "Service", "NetworkPolicy"} <= {each["kind"] for each in found}
        require_restricted(found)
        for version in (OLDEST, NEWEST):
            require_valid(found, version)
