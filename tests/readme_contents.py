"""The README's table of contents: its chapters, by what a reader wants."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

README: Final = Path(__file__).parents[1] / "README.md"

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "to begin": (
        "Ten seconds",
        "The first call",
        "The first configuration",
        "The first hour on a real site",
    ),
    "to configure": ("Commands", "Configuration"),
    "to ask": ("The API: request and answer", "Problems", "Provider names"),
    "who may what": ("Who is calling", "Grants", "Limits"),
    "what stands behind": ("The wire to Gigya", "The audit record"),
    "to run": (
        "When Gigya, the network or the pod misbehaves",
        "Life of the process",
        "Limits of a connection",
        "TLS and mutual TLS",
        "Watched files",
        "Watching it",
    ),
    "to deploy": (
        "Installation on Kubernetes",
        "Scaling",
        "Upgrade, rollback, removal",
        "Two regions",
        "Compatibility promise",
    ),
    "to judge": (
        "Performance",
        "The simulator: a Gigya of our own",
        "What the tests show",
        "Dependencies",
        "What is verified and what is inferred",
        "Decisions",
    ),
}
"""Each chapter once, in the order of the README."""


class Heading(NamedTuple):
    """A heading: 2 is a chapter's level."""

    level: int
    text: str

    @property
    def anchor(self) -> str:
        """What a link within the page calls it."""
        return re.sub(r"[^\w\- ]", "", self.text.lower()).strip().replace(" ", "-")


def headings(text: str) -> Iterator[Heading]:
    """Yield the headings, and none of the comments in blocks that look like one."""
    is_fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            is_fenced = not is_fenced
        elif not is_fenced and (found := re.fullmatch(r"(#+) (.*)", line)):
            yield Heading(len(found[1]), found[2])


def contents() -> str:
    """Return a line of links for each part."""
    rows = [
        f"| {part} | {' · '.join(f'[{title}](#{Heading(2, title).anchor})' for title in titles)} |"
        for part, titles in PARTS.items()
    ]
    return "\n".join(["| | |", "|---|---|", *rows])
