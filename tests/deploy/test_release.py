"""The release workflow: its own steps, run with stand-ins for what asks a registry."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy import chart
from tests.deploy.charts import each_object, one

pytestmark = pytest.mark.needs_tools

WORKFLOWS: Final = chart.ROOT / ".github/workflows"
JOBS: Final[dict[str, Any]] = yaml.safe_load((WORKFLOWS / "release.yaml").read_text("utf-8"))[
    "jobs"
]
ABOUT: Final = yaml.safe_load((chart.CHART / "Chart.yaml").read_text("utf-8"))
VERSION: Final = ABOUT["version"]
GIVEN: Final = {
    "GITHUB_REF_NAME": f"v{VERSION}",
    "GITHUB_REPOSITORY": "Some-Owner/Gigya-Credential-Proxy",
    "GITHUB_REPOSITORY_OWNER": "Some-Owner",
}
IMAGE: Final = "ghcr.io/some-owner/gigya-credential-proxy"


def step(job: str, name: str) -> str:
    """Return the script of a step."""
    (found,) = (each for each in JOBS[job]["steps"] if each.get("name", "").startswith(name))
    script: str = found["run"]
    return script


def run(script: str, place: Path, **given: str) -> int:
    """Run a step as GitHub does; return its status."""
    return subprocess.run(  # noqa: S603  # the workflow's own words
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],  # noqa: S607  # likewise
        cwd=place,
        env={**os.environ, **GIVEN, "GITHUB_OUTPUT": str(place / "output"), **given},
        check=False,
        capture_output=True,
    ).returncode


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a directory with what the steps look at."""
    place = tmp_path / "clone"
    shutil.copytree(chart.CHART, place / chart.CHART.relative_to(chart.ROOT))
    for name in ("pyproject.toml", "deploy/CHANGELOG.md"):
        (place / name).parent.mkdir(exist_ok=True)
        shutil.copy(chart.ROOT / name, place / name)
    return place


def stand_in(directory: Path, name: str, script: str) -> str:
    """Make a program; return the path by which it is found first."""
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    (directory / name).chmod(0o755)
    return os.pathsep.join([str(directory), os.environ["PATH"]])


class TestNames:
    def test_are_lower_case_and_without_v(self, tmp_path: Path) -> None:
        """Registries take no capitals, and the chart's version has no v."""
        assert 0 == run(step("about", "Names"), tmp_path)
        assert [
            f"version={VERSION}",
            f"image={IMAGE}",
            "charts=ghcr.io/some-owner/charts",
        ] == (tmp_path / "output").read_text("utf-8").splitlines()

    @pytest.mark.parametrize(
        ("file", "was", "status"),
        [
            (None, "", 0),
            ("pyproject.toml", "version = ", 1),
            ("helm/gigya-credential-proxy/Chart.yaml", "version: ", 1),
            ("helm/gigya-credential-proxy/Chart.yaml", "appVersion: ", 1),
            ("deploy/CHANGELOG.md", "## [", 1),
        ],
        ids=["as it is", "distribution", "chart", "image", "changelog"],
    )
    def test_must_agree(self, clone: Path, file: str | None, was: str, status: int) -> None:
        """A tag that is not everywhere the version releases nothing."""
        if file is not None:
            text = (clone / file).read_text("utf-8")
            pattern = rf"^({re.escape(was)}\"?){re.escape(VERSION)}"
            changed = re.sub(pattern, r"\g<1>9.9.9", text, flags=re.MULTILINE)
            assert changed != text
            (clone / file).write_text(changed, "utf-8")

        assert status == run(step("about", "The tag is the version"), clone)

    def test_of_the_image_are_those_that_the_chart_asks_for(self, clone: Path) -> None:
        """A released chart pulls the released image, without a value of the installation."""
        path = stand_in(clone / "bin", "helm", "exit 0")
        script = step("build-files", "Chart")
        pushed = step("push", "One image of both")
        assert 0 == run(script, clone, IMAGE=IMAGE, PATH=path)

        values = clone / "helm/gigya-credential-proxy/values.yaml"
        image = yaml.safe_load(values.read_text("utf-8"))["image"]
        shape = yaml.safe_load((chart.CHART / "ci/tls-values.yaml").read_text("utf-8"))
        found = list(each_object(chart.render({**shape, "image": image})))
        (container,) = one(found, "Deployment")["spec"]["template"]["spec"]["containers"]
        (tag,) = re.findall(r'--tag "([^"]+)"', pushed)

        assert container["image"] == tag.replace("$IMAGE", IMAGE).replace("$VERSION", VERSION)

    def test_of_the_image_are_those_that_readers_verify(self) -> None:
        """The README verifies images by the tags that are pushed."""
        readme = (chart.ROOT / "README.md").read_text("utf-8")
        tags = set(re.findall(r"ghcr\.io/OWNER/[a-z/-]+:(\S+)", readme))

        assert {VERSION} == tags


class TestRights:
    def test_are_of_one_kind_in_each_job(self) -> None:
        """What builds signs nothing, and what signs builds nothing and reads no source."""
        rights = {
            name: {right for right, level in job["permissions"].items() if level == "write"}
            for name, job in JOBS.items()
        }
        signing = yaml.safe_dump(JOBS["sign"])

        assert rights == {
            "test": set(),
            "about": set(),
            "build-image": {"packages"},
            "build-files": set(),
            "push": {"packages"},
            "sign": {"packages", "id-token", "attestations"},
            "release": {"contents"},
        }
        assert [] == [each for each in ("checkout", "buildx", "pip", "helm") if each in signing]
        assert "--privileged" not in (WORKFLOWS / "release.yaml").read_text("utf-8")

    def test_of_python_packages_are_locked(self) -> None:
        """What is installed while building has its hashes or an exact version."""
        installs = re.findall(
            r"pip install .*",
            "\n".join(
                each.get("run", "") for job in JOBS.values() for each in job.get("steps", [])
            ),
        )

        assert installs
        assert [] == [
            each for each in installs if "--require-hashes" not in each and "tools.txt" not in each
        ]


class TestPins:
    def test_put_commits_in_the_place_of_tags(self, tmp_path: Path) -> None:
        """Each action is named by the commit that its tag means, and the tag can still be read."""
        commit, before = "1" * 40, "2" * 40
        told = f'printf "{before}\\trefs/tags/v1\\n{commit}\\trefs/tags/v1^{{}}\\n"'
        path = stand_in(tmp_path / "bin", "git", told)
        shutil.copytree(chart.ROOT / ".github", tmp_path / "clone/.github")
        ended = subprocess.run(  # noqa: S603  # this repository's own
            [tmp_path / "clone/.github/pin-actions"],
            env={**os.environ, "PATH": path},
            check=False,
            capture_output=True,
            text=True,
        )
        texts = [p.read_text("utf-8") for p in (tmp_path / "clone/.github/workflows").iterdir()]
        used = [each for text in texts for each in re.findall(r"uses: ([^.\s].*)", text)]

        assert 0 == ended.returncode, ended.stderr
        assert used
        assert [] == [u for u in used if not re.fullmatch(rf"[\w/-]+@{commit}  # v[0-9.]+", u)]

    def test_stop_at_a_tag_that_there_is_not(self, tmp_path: Path) -> None:
        """Nothing is changed for an action whose tag nobody knows."""
        path = stand_in(tmp_path / "bin", "git", "exit 0")
        shutil.copytree(chart.ROOT / ".github", tmp_path / "clone/.github")
        ended = subprocess.run(  # noqa: S603  # this repository's own
            [tmp_path / "clone/.github/pin-actions"],
            env={**os.environ, "PATH": path},
            check=False,
            capture_output=True,
            text=True,
        )

        assert (1, True) == (ended.returncode, "no such tag" in ended.stderr)
