"""What is made from something else is what it would be made today; needs nothing but Python."""

import base64
import hashlib
import json
import re
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement

from deploy import chart
from service.settings.load import load
from service.simulator import seeded
from tests.deploy.charts import SHAPES, name_of
from tests.deploy.installed import locked

COMPOSE: Final = chart.ROOT / "deploy/compose"
NOW: Final = datetime(2026, 11, 22, tzinfo=UTC)


class TestSchema:
    def test_is_current(self) -> None:
        """The schema of the values holds the service's own; python deploy/chart.py write."""
        assert chart.schema() == json.loads(chart.SCHEMA.read_text("utf-8"))

    def test_is_a_schema(self) -> None:
        """It is valid by its own dialect."""
        jsonschema.Draft202012Validator.check_schema(chart.schema())

    def test_closes_every_mapping_of_the_configuration(self) -> None:
        """A key that the service does not know is refused at once, wherever it stands."""
        definitions = chart.schema()["$defs"].values()
        shapes = [each for each in definitions if "properties" in each]

        assert [] == [each for each in shapes if each["additionalProperties"] is not False]

    def test_knows_every_default(self) -> None:
        """Every value that values.yaml has may be set, and every other is refused."""
        values = yaml.safe_load(chart.VALUES.read_text("utf-8"))

        assert set(chart.schema()["properties"]) == {*values, "global"}


class TestTable:
    def test_tells_of_every_value(self) -> None:
        """Each leaf of values.yaml has its sentence."""
        text = chart.VALUES.read_text("utf-8")
        told = {row.key for row in chart.rows(text)}

        assert set() == set(_leaves(yaml.safe_load(text), told)) - told

    def test_has_sentences(self) -> None:
        """They are sentences."""
        told = [row.told for row in chart.rows(chart.VALUES.read_text("utf-8"))]

        assert [] == [each for each in told if not each.endswith((".", ":"))]


def _leaves(values: dict[str, object], told: set[str], above: str = "") -> list[str]:
    """Return the paths of ``values`` down to where ``told`` knows them."""
    found = []
    for key, value in values.items():
        path = f"{above}{key}"
        if path in told or not isinstance(value, dict) or not value:
            found.append(path)
        else:
            found += _leaves(value, told, f"{path}.")
    return found


@pytest.mark.parametrize("path", SHAPES, ids=[name_of(path) for path in SHAPES])
class TestShapes:
    def test_fit_the_schema(self, path: Path) -> None:
        """Every shape of ci/ fits the schema of the values."""
        values = yaml.safe_load(path.read_text("utf-8"))

        jsonschema.validate(values, chart.schema(), cls=jsonschema.Draft202012Validator)


class TestCopies:
    def test_are_current(self) -> None:
        """The chart's rules and dashboard are those of deploy/; python deploy/chart.py write."""

        def contents(path: Path) -> bytes | None:
            return path.read_bytes() if path.exists() else None

        stale = [
            copy.name
            for copy, origin in chart.copies().items()
            if contents(copy) != contents(origin)
        ]

        assert [] == stale


class TestScaling:
    def test_tells_by_rows_that_were_measured(self) -> None:
        """What one pod carries is told by rows of the benchmark, and by no copy of them."""
        readme = (chart.ROOT / "README.md").read_text("utf-8")
        _, _, after = readme.partition("| what one pod carries | |")
        told, _, _ = after.partition("###")
        measured = readme[readme.index("<!-- table: benchmark -->") :]
        named = set(re.findall(r"`([^`]+)`", told))

        assert {"product, everything on", "product, cache hits"} <= named
        assert set() == {each for each in named if f"| {each} |" not in measured}


class TestLaptopRules:
    def test_are_current(self) -> None:
        """The rules of the compose file are the shipped ones, but one replica is enough."""
        laptops = yaml.safe_load(chart.LAPTOP_RULES.read_text("utf-8"))
        shipped = yaml.safe_load(chart.RULES.read_text("utf-8"))

        assert chart.laptop_rules() == chart.LAPTOP_RULES.read_text("utf-8")
        pairs = zip(_rules(laptops), _rules(shipped), strict=True)
        [(laptop, ours)] = [(one, other) for one, other in pairs if one != other]
        assert {"of": "replicas"} == ours["labels"]
        assert ("vector(1)", "vector(2)") == (laptop["expr"], ours["expr"])


def _rules(whole: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in whole["groups"] for rule in group["rules"]]


class TestVersions:
    def test_are_one(self) -> None:
        """Chart, its application and the distribution have the same version at first."""
        about = yaml.safe_load((chart.CHART / "Chart.yaml").read_text("utf-8"))
        project = (chart.ROOT / "pyproject.toml").read_text("utf-8")

        assert f'version = "{about["appVersion"]}"' in project
        assert f"## [{about['version']}]" in (chart.ROOT / "deploy/CHANGELOG.md").read_text("utf-8")


class TestLock:
    """The locks hold what pyproject.toml asks for, each with hashes, and tell no address."""

    LOCKED: Final = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)

    def test_satisfies_the_project(self) -> None:
        """Each dependency, and the extra that the image has, is locked at an allowed version."""
        project = tomllib.loads((chart.ROOT / "pyproject.toml").read_text("utf-8"))
        text = (chart.ROOT / "deploy/requirements.lock").read_text("utf-8")
        locked = dict(self.LOCKED.findall(text))
        tables = project["project"]
        asked = [*tables["dependencies"], *tables["optional-dependencies"]["tracing"]]
        wanted = list(map(Requirement, asked))
        names = {each: re.sub(r"[-_.]+", "-", each.name).lower() for each in wanted}

        assert [] == [
            str(each)
            for each, name in names.items()
            if name not in locked or not each.specifier.contains(locked[name])
        ]

    def test_is_what_the_tests_are_installed_with(self) -> None:
        """.ci/run makes constraints of every row, and says if something else is installed."""
        script = (chart.ROOT / ".ci/run").read_text("utf-8")
        (function,) = re.findall(r"^locked\(\) .*$", script, re.MULTILINE)
        made = subprocess.run(  # noqa: S603  # the script's own words
            ["bash", "-c", f"{function}; locked"],  # noqa: S607  # which bash is the reader's
            cwd=chart.ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()

        assert list(map(str, locked())) == [str(Requirement(row)) for row in made]
        assert "-m tests.deploy.installed" in script

    def test_of_the_tools_is_exact(self) -> None:
        """What checks the project has exact versions, such as pyproject.toml allows."""
        tables = tomllib.loads((chart.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        extras = tables["optional-dependencies"]
        asked = map(Requirement, [*extras["test"], *extras["dev"]])
        wanted = {each.name: each for each in asked if each.name != tables["name"]}
        rows = [
            Requirement(line)
            for line in (chart.ROOT / ".ci/tools.txt").read_text("utf-8").splitlines()
            if not line.startswith("#")
        ]
        pinned = {each.name: str(each.specifier) for each in rows}

        assert [] == [each for each in rows if not re.fullmatch(r"==[^*,]+", str(each.specifier))]
        assert [] == [
            name
            for name, each in wanted.items()
            if name not in pinned or not each.specifier.contains(pinned[name].removeprefix("=="))
        ]

    @pytest.mark.parametrize("name", ["requirements.lock", "requirements-build.lock"])
    def test_is_hashed(self, name: str) -> None:
        """Each package has its hashes, and no line names where it comes from."""
        text = (chart.ROOT / "deploy" / name).read_text("utf-8")
        packages = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]

        assert packages
        assert [] == [each for each in packages if "--hash=sha256:" not in each]
        assert "://" not in text


class TestCompose:
    """The laptop's keys are the simulator's of seed 0, and its configuration is good."""

    def test_configuration_is_good(self) -> None:
        """The configuration has no fault, files included."""
        place = "/etc/gigya-credential-proxy"

        def read(file: str) -> bytes:
            return (COMPOSE / "proxy" / Path(file).relative_to(place)).read_bytes()

        loaded = load(read(f"{place}/config.yaml"), read_file=read, now=NOW)

        assert ["simulated"] == list(loaded.settings.sites)

    def test_keys_are_the_simulators(self) -> None:
        """They are the simulator's of seed 0, so that nothing has to be copied."""
        made = seeded("0", now=0)
        config = yaml.safe_load((COMPOSE / "proxy/config.yaml").read_text("utf-8"))
        site = config["sites"]["simulated"]

        assert made.partner_secret == (COMPOSE / "proxy/partner-secret").read_text().strip()
        assert made.user_secret == (COMPOSE / "proxy/user-secret").read_text().strip()
        assert (made.api_key, made.user_key) == (
            site["api_key"],
            site["authentication"]["current"]["user_key"],
        )

    def test_token_is_the_callers(self) -> None:
        """The token in the file is the one whose digest is configured."""
        config = yaml.safe_load((COMPOSE / "proxy/config.yaml").read_text("utf-8"))
        token = (COMPOSE / "token").read_bytes().strip()

        assert config["authentication"][0]["tokens"][0]["sha256"] == (
            hashlib.sha256(token).hexdigest()
        )

    def test_mounts_what_there_is(self) -> None:
        """What the compose file mounts is in this repository."""
        services = yaml.safe_load((COMPOSE / "compose.yaml").read_text("utf-8"))["services"]
        sources = {
            volume.split(":")[0]
            for service in services.values()
            for volume in service.get("volumes", [])
        }

        assert set() == {each for each in sources if not (COMPOSE / each).exists()}

    def test_audit_key_is_long_enough(self) -> None:
        """The audit key is base64 of 32 octets or more."""
        assert len(base64.b64decode((COMPOSE / "proxy/audit-key").read_bytes())) >= 32
