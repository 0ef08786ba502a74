"""The README holds: its tables are the code's, its commands run, its examples are accepted."""

import json
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest
import yaml

from service.__main__ import COMMANDS, parser
from service.settings.load import load
from tests.house import TOKEN, House
from tests.readme_contents import PARTS, headings
from tests.readme_tables import TABLES, written

README: Final = Path(__file__).parents[2] / "README.md"
TEXT: Final = README.read_text("utf-8")
ROOT: Final = README.parent
CHAPTER: Final = 2
BY_HAND: Final = ".ci/by-hand.txt"


class Block(NamedTuple):
    """A fenced block, with the comment that stands before it."""

    line: int
    language: str
    text: str
    comment: str


def blocks() -> list[Block]:
    """Return every fenced block of the README."""
    found = re.finditer(
        r"(?:<!-- (?P<comment>[^>]*) -->\n)?^ *```(?P<language>[^\n]*)\n(?P<text>.*?)\n *```$",
        TEXT,
        re.DOTALL | re.MULTILINE,
    )
    return [
        Block(
            TEXT[: match.start()].count("\n") + 1,
            match["language"],
            match["text"],
            match["comment"] or "",
        )
        for match in found
    ]


COMMAND_BLOCKS: Final = [block for block in blocks() if block.language in {"bash", "console"}]
COMMAND: Final = re.compile(
    r"^\s*(\$ )?(gigya-credential-proxy|curl|kubectl|helm|docker)\b", re.MULTILINE
)
RUN_HERE: Final = "run by tests/contract/test_readme.py"


def test_the_tables_are_those_of_the_code() -> None:
    """Every marked table says what the code does; python -m tests.readme_tables writes them."""
    assert written(TEXT) == TEXT
    assert TABLES


def test_every_block_says_what_it_is() -> None:
    """A fence has a language: without one a block would be neither run nor read nor told of."""
    assert [] == [f"line {block.line}" for block in blocks() if not block.language.strip()]


def test_commands_stand_in_blocks_of_commands() -> None:
    """What a reader would paste into a shell is not hidden in a block of another kind."""
    others = [block for block in blocks() if block not in COMMAND_BLOCKS]

    assert [] == [f"line {block.line}" for block in others if COMMAND.search(block.text)]


@pytest.mark.parametrize("block", COMMAND_BLOCKS, ids=lambda block: f"line {block.line}")
def test_every_command_is_run_or_said_not_to_be(block: Block) -> None:
    """A reader knows of each command whether something runs it, and of the others why not."""
    said = ("command: ", "run by tests/", "installation: ", "not run: ")
    assert block.comment.startswith(said), f"line {block.line}: {block.text[:60]}"
    if block.comment.startswith("run by "):
        assert (README.parent / block.comment.removeprefix("run by ").split()[0]).is_file()


@pytest.mark.parametrize(
    "line",
    [
        line.partition("#")[0].strip()
        for block in COMMAND_BLOCKS
        if block.comment == RUN_HERE
        for line in block.text.splitlines()
    ],
)
def test_the_commands_that_need_nothing_run(line: str, tmp_path: Path) -> None:
    """They exit 0 and print something, be it into a file."""
    command, *_ = line.split()
    assert "gigya-credential-proxy" == command
    program = tmp_path / "bin" / command
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m service "$@"\n', "utf-8")
    program.chmod(0o700)

    ended = subprocess.run(  # noqa: S603  # our own
        ["/bin/sh", "-eu", "-c", line],
        env={"PATH": str(program.parent), "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )

    assert ended.stdout or [file for file in tmp_path.iterdir() if file.is_file()]


@pytest.mark.parametrize(
    "block",
    [block for block in blocks() if block.comment.startswith("checked by")],
    ids=lambda block: f"line {block.line}",
)
def test_whole_configurations_have_no_faults(block: Block) -> None:
    """What stands there as a configuration is one."""
    assert load(block.text, read_file=None, now=datetime.now(UTC)).settings.sites


@pytest.mark.parametrize(
    "block",
    [block for block in blocks() if block.language in {"yaml", "json"}],
    ids=lambda block: f"line {block.line}",
)
def test_data_can_be_read(block: Block) -> None:
    """An example that a parser refuses teaches a mistake."""
    if block.language == "json":
        assert json.loads(block.text)
    else:
        assert yaml.safe_load(block.text)


async def test_the_caller_in_python_works(tmp_path: Path) -> None:
    """The example of a caller gets tokens, and raises what it says it raises."""
    [block] = [block for block in blocks() if block.language == "python"]
    names: dict[str, Any] = {}
    exec(block.text, names)  # noqa: S102  # our own README

    async with House(tmp_path).open() as visitor:
        asked: list[httpx.Request] = []

        def note(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            return answers.pop(0)

        good = await visitor.ask()
        expired = await visitor.ask(uid="user-expired")
        denied = await visitor.ask(provider="nonsense")
        answers = [
            httpx.Response(each.status_code, headers=each.headers, content=each.content)
            for each in (good, expired, denied)
        ]
        with httpx.Client(
            transport=httpx.MockTransport(note),
            base_url="http://proxy",
            headers={"authorization": f"Bearer {TOKEN}"},
        ) as client:
            assert good.json()["tokens"] == names["provider_tokens"](client, "u", "twitter")
            with pytest.raises(PermissionError):
                names["provider_tokens"](client, "u", "twitter")
            with pytest.raises(RuntimeError, match="unknown-provider"):
                names["provider_tokens"](client, "u", "nonsense")
        assert {"uid": "u", "provider": "twitter"} == json.loads(asked[0].content)


def test_what_the_last_check_leaves_out() -> None:
    """``.ci/run`` runs what is deselected here, but for what the README's list of it names."""
    by_hand = (ROOT / BY_HAND).read_text("utf-8").splitlines()
    run = (ROOT / ".ci/run").read_text("utf-8")

    assert f"runs in `.ci/run`, except what `{BY_HAND}` names" in " ".join(TEXT.split())
    assert 1 == run.count("--deselect") == run.count(f"s/^tests/--deselect &/p' {BY_HAND}")
    for path in by_hand:
        if not path.startswith("#"):
            assert "needs_tools" in (ROOT / path).read_text("utf-8")


def test_every_command_is_named() -> None:
    """The README names each command of the command line."""
    assert [] == [name for name in COMMANDS if f"gigya-credential-proxy {name}" not in TEXT]
    assert parser().prog == "gigya-credential-proxy"


def test_every_dependency_has_its_reason() -> None:
    """Whatever the service can import is in the table, with what for, who keeps it, its licence."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["tracing"]]
    names = [re.split(r"[<>=;\[ ]", each)[0].lower() for each in wanted]
    chapter = TEXT.partition("\n## Dependencies\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in chapter.lower().splitlines() if line.startswith("| ")]

    told = {name for row in rows for name in re.split(r", | \(", row[0].removeprefix("| "))}
    assert set() == set(names) - told
    assert {4} == {len(row) for row in rows}


def test_links_lead_somewhere() -> None:
    """Each link within the page has its heading."""
    anchors = {heading.anchor for heading in headings(TEXT)}

    assert set() == set(re.findall(r"\]\(#([^)]+)\)", TEXT)) - anchors


def test_headings_are_told_apart() -> None:
    """No two headings have one anchor, of which a link would find the first only."""
    anchors = [heading.anchor for heading in headings(TEXT)]

    assert [] == [anchor for anchor in set(anchors) if anchors.count(anchor) > 1]


def test_the_contents_are_those_of_the_page() -> None:
    """The table of contents has every chapter once, in order, and stands before the first."""
    chapters = [heading.text for heading in headings(TEXT) if heading.level == CHAPTER]

    assert chapters == [title for titles in PARTS.values() for title in titles]
    assert TEXT.index("<!-- table: contents -->") < TEXT.index("\n## ")
