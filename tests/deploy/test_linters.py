"""Dockerfile, scripts, YAML and workflows, each by its own linter."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy import chart
from tests.deploy.charts import objects

pytestmark = pytest.mark.needs_tools

TOOLS: Final = Path(sys.executable).parent
CHART: Final = "helm/gigya-credential-proxy"
SCRIPTS: Final = (
    "deploy/build-and-run",
    "deploy/examples/call.sh",
    ".ci/run",
    ".github/pin-actions",
)
COMMANDS: Final = {
    "hadolint": ["hadolint", "Dockerfile"],
    "yamllint": [
        *("yamllint", "--strict", "--config-file", "deploy/yamllint.yaml"),
        *(".github", "deploy", f"{CHART}/values.yaml", f"{CHART}/Chart.yaml", f"{CHART}/ci"),
    ],
    "shellcheck": ["shellcheck", *SCRIPTS],
    "actionlint": ["actionlint", *map(str, sorted(Path(".github/workflows").glob("*.yaml")))],
}


class TestLinters:
    @pytest.mark.parametrize("name", COMMANDS)
    def test_have_nothing_to_say(self, name: str) -> None:
        """Each ends with 0 and says nothing."""
        program, *arguments = COMMANDS[name]
        # actionlint looks for shellcheck, to judge the scripts inside workflows.
        path = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
        ended = subprocess.run(  # noqa: S603  # the table above
            [TOOLS / program, *arguments],
            cwd=chart.ROOT,
            env={**os.environ, "PATH": path},
            check=False,
            capture_output=True,
            text=True,
        )

        assert (0, "") == (ended.returncode, ended.stdout + ended.stderr)

    def test_see_every_script(self) -> None:
        """Every file that begins as a shell script is among them."""
        listed = subprocess.run(
            ["git", "ls-files", "deploy", ".ci", "helm", ".github"],  # noqa: S607  # git is needed
            cwd=chart.ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        shells = {
            name
            for name in listed
            if (first := (chart.ROOT / name).read_bytes().split(b"\n")[0]).startswith(b"#!")
            and first.endswith((b"sh", b"bash"))
        }

        assert shells <= set(SCRIPTS)


class TestCompose:
    def test_prometheus_takes_its_configuration(self, tmp_path: Path) -> None:
        """Prometheus' own tool accepts the laptop's configuration, and finds the rules in it."""
        text = (chart.ROOT / "deploy/compose/prometheus.yaml").read_text("utf-8")
        config = tmp_path / "prometheus.yaml"
        config.write_text(
            text.replace("/etc/prometheus/rules", str(chart.CHART / "files")), "utf-8"
        )
        ended = subprocess.run(  # noqa: S603  # likewise
            ["promtool", "check", "config", config],  # noqa: S607  # Debian's
            check=False,
            capture_output=True,
            text=True,
        )

        assert 0 == ended.returncode, ended.stderr
        assert re.search(r"[1-9][0-9]* rules found", ended.stdout)


class TestExamples:
    def test_pod_is_valid(self) -> None:
        """The example of a caller fits Kubernetes' strict schema."""
        kubernetes: Any = import_module("kubernetes_validate")
        text = (chart.ROOT / "deploy/examples/pod.yaml").read_text("utf-8")
        versions = [kubernetes.validate(o, "1.37", strict=True) for o in yaml.safe_load_all(text)]

        assert ["1.37", "1.37"] == versions

    def test_secrets_are_those_that_the_manifests_name(self) -> None:
        """The External Secrets make each Secret that the plain manifests mount, but TLS."""
        text = (chart.ROOT / "deploy/examples/external-secrets.yaml").read_text("utf-8")
        made = {each["spec"]["target"]["name"] for each in yaml.safe_load_all(text)}
        (deployment,) = (each for each in objects("tls") if each["kind"] == "Deployment")
        volumes = deployment["spec"]["template"]["spec"]["volumes"]
        mounted = {each["secret"]["secretName"] for each in volumes if "secret" in each}

        assert made | {"proxy-tls"} == mounted
