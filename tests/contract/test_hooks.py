"""What runs before every commit is what the last check runs, and needs nothing from elsewhere."""

import tomllib
from pathlib import Path
from typing import Final

import yaml

ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = ".ci/pre-commit.yaml"


def test_every_hook_is_a_tool_of_ours() -> None:
    """Hooks run what the extra ``dev`` installs: no repository is fetched for any of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    tools = {each.partition("==")[0] for each in project["project"]["optional-dependencies"]["dev"]}
    [repository] = yaml.safe_load((ROOT / CONFIG).read_text("utf-8"))["repos"]

    assert "local" == repository["repo"]
    assert {"system"} == {hook["language"] for hook in repository["hooks"]}
    assert {hook["entry"].split()[0] for hook in repository["hooks"]} <= {*tools, "python"}


def test_the_last_check_runs_them() -> None:
    """A commit that passes the hooks passes the first stage of ``.ci/run``, and the other way."""
    assert f"run --all-files --config {CONFIG}" in (ROOT / ".ci/run").read_text("utf-8")
