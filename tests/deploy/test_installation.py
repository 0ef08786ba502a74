"""The README's commands of the installation, as a newcomer would paste them."""

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

pytestmark = pytest.mark.needs_tools

README: Final = (chart.ROOT / "README.md").read_text("utf-8")
BLOCKS: Final[dict[str, str]] = dict(
    re.findall(r"<!-- installation: (\S+) -->\n```bash\n(.*?)```\n", README, re.DOTALL)
)
RUN: Final = ("keys", "values", "check", "install", "sbom")
NOT_RUN: Final = ("image", "secrets", "see", "call", "verify", "pin")
"""Why not stands in the README."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that looks like a clone, with a helm command of Helm's engine."""
    directory = tmp_path_factory.mktemp("newcomer")
    for name in ("helm", "deploy", "pyproject.toml"):
        (directory / name).symlink_to(chart.ROOT / name)
    programs = directory / "bin"
    programs.mkdir()
    helm = programs / "helm"
    shim = Path(__file__).parents[2] / "tests/deploy/helm.py"
    helm.write_text(f'#!/bin/sh\nexec {sys.executable} {shim} "$@"\n')
    helm.chmod(0o755)
    return directory


class TestInstallation:
    def test_names_every_command(self) -> None:
        """Each block is run here, or is named in the README as not run."""
        table = README[README.index("### Which of these commands are run") :]
        reasons = [line for line in table.splitlines() if "not run:" in line]

        assert set(BLOCKS) == {*RUN, *NOT_RUN}
        assert set() == {name for name in NOT_RUN if f"`{name}`" not in "".join(reasons)}

    def test_names_every_command_in_a_sentence(self) -> None:
        """A command between the lines, or in a table, is named as not run, or run as a block."""
        chapter = README[README.index("## Installation on Kubernetes") :]
        chapter = chapter[: chapter.index("## Compatibility promise")]
        prose = re.sub(r"```.*?```", "", chapter, flags=re.DOTALL)
        table = README[README.index("### Which of these commands are run") :].partition("###")[2]
        table = table[: table.index("### What the chart does")]
        inline = re.findall(r"`((?:kubectl|helm|docker|cosign|gh|pip) [a-z][a-z-]*)", prose)

        assert {"kubectl apply", "kubectl debug"} <= set(inline)
        assert set() == {each for each in inline if f"`{each}`" not in table}

    def test_works(self, place: Path) -> None:
        """What can be run without a cluster does what the chapter says, in its order."""
        path = os.pathsep.join(
            [str(place / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        )
        script = "\n".join(BLOCKS[name] for name in RUN)
        ended = subprocess.run(  # noqa: S603  # the README's own words
            ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607  # which bash is the reader's
            cwd=place,
            env={**os.environ, "PATH": path},
            check=False,
            capture_output=True,
            text=True,
        )

        assert ended.returncode == 0, ended.stderr
        assert "0 faults" in ended.stderr
        assert (place / "sbom.cdx.json").stat().st_size > 0

    @pytest.mark.parametrize("version", ["1.30", "1.37"])
    @pytest.mark.usefixtures("place")
    def test_renders_what_kubernetes_takes(self, version: str) -> None:
        """What the chapter installs fits the oldest and the newest supported Kubernetes."""
        kubernetes: Any = import_module("kubernetes_validate")
        (text,) = re.findall(r"<<'EOF'\n(.*?)\nEOF", BLOCKS["values"], re.DOTALL)
        rendered = chart.render(yaml.safe_load(text))
        del rendered[f"{chart.NAME}/templates/NOTES.txt"]

        for each in (o for part in rendered.values() for o in yaml.safe_load_all(part) if o):
            assert kubernetes.validate(each, version, strict=True) == version
