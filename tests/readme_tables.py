"""The README's tables, made from the code's: ``python -m tests.readme_tables`` writes them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from deploy.chart import table as helm_values
from service.api.answer_members import ANSWER_MEMBERS
from service.api.members import MEMBERS
from service.api.problems import PROBLEMS
from service.metrics import METRICS, PROBE_METRICS, PROCESS
from service.provider_rows import FACEBOOK, FAMILIES, NAMED, OAUTH1, OAUTH2, ROWS, FieldNames
from service.tracing import ATTRIBUTES
from tests.audit.record_table import record_fields, record_kinds
from tests.observing.shipped import alerts as shipped_alerts
from tests.readme_contents import contents
from tests.resilience.failures import table as failures
from tests.settings.reference import reference as configuration

README: Final = Path(__file__).parents[1] / "README.md"

COLUMNS: Final[Mapping[FieldNames | None, str]] = {
    FACEBOOK: "Facebook",
    OAUTH1: "OAuth 1",
    OAUTH2: "OAuth 2",
    None: "none",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown; a first line of dashes separates the head."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines)


def columns() -> str:
    """Return the three columns of names."""
    names = {family: column.by_field() for family, column in FAMILIES.items()}
    rows = [[f"`{f}`", *(_code(names[family].get(f)) for family in FAMILIES)] for f in NAMED]
    return table(["Gigya field", *(f"`{family}`" for family in FAMILIES)], rows)


def mapping() -> str:
    """Return a row for each provider."""
    rows = [
        [
            f"`{row.name}`",
            ", ".join(f"`{alias}`" for alias in row.aliases) or "-",
            COLUMNS[row.names],
            row.source.value,
            row.evidence,
        ]
        for row in ROWS
    ]
    return table(["provider", "aliases", "column", "source", "where from"], rows)


def problems() -> str:
    """Return a row for each problem."""
    rows = [
        [
            str(row.status.value),
            f"`{kind.code}`",
            row.title,
            "yes" if row.is_retryable else "no",
            row.caller,
            row.operator,
        ]
        for kind, row in sorted(PROBLEMS.items(), key=lambda item: item[1].status.value)
    ]
    head = ["status", "code", "title", "retry", "what the caller does", "what the operator does"]
    return table(head, rows)


def request_members() -> str:
    """Return a row for each member of a token request."""
    rows = [
        [
            f"`{member.name}`",
            "required" if member.is_required else "optional",
            _form(member.schema),
            member.text,
        ]
        for member in MEMBERS
    ]
    return table(["member", "", "form", "meaning"], rows)


def answer_members() -> str:
    """Return a row for each member of the answer."""
    rows = [
        [f"`{member.name}`", "always" if member.is_always else "where it applies", member.text]
        for member in ANSWER_MEMBERS
    ]
    return table(["member", "", "meaning"], rows)


def _code(name: str | None) -> str:
    return "-" if name is None else f"`{name}`"


def _form(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if kind == "string":
        return f"text, 1 to {schema['maxLength']} characters, no control characters"
    if kind == "integer":
        return f"whole number, {schema['minimum']} to {schema['maximum']}"
    if kind == "array":
        return f"list of {schema['minItems']} to {schema['maxItems']} different names"
    if kind == "object":
        return "object of " + " and ".join(f"`{name}`" for name in schema["required"])
    return {"boolean": "`true` or `false`", None: "any JSON"}[kind]


def metrics() -> str:
    """Return a row for each metric."""
    rows = [
        [
            f"`{row.exposed}`",
            row.kind.value,
            ", ".join(f"`{label}`" for label in row.labels) or "-",
            row.tells,
        ]
        for row in (*METRICS, *PROBE_METRICS)
    ]
    rows += [[f"`{name}`", kind.value, "-", tells] for name, (kind, tells) in PROCESS.items()]
    return table(["metric", "kind", "labels", "what it tells"], rows)


def alerts() -> str:
    """Return a row for each alert."""
    rows = [
        [
            f"[`{alert.name}`]({alert.runbook})",
            "page" if alert.severity == "critical" else "working day",
            re.sub(
                r"{{ \$labels\.(\w+) }}", r"*\1*", _VALUE.sub("*so much*", alert.summary)
            ).replace("*of*", "releases or users"),
        ]
        for alert in shipped_alerts()
    ]
    return table(["alert and its runbook", "who", "what it says"], rows)


def attributes() -> str:
    """Return a row for each attribute of a span."""
    return table(["attribute", "what it tells"], [[f"`{k}`", v] for k, v in ATTRIBUTES.items()])


_VALUE: Final = re.compile(r"{{ \$value.*? }}")


def benchmark() -> str:
    """Return what the last full run of the benchmark found."""
    data = README.parent / "tests/benchmark/data/rounds.md"
    return data.read_text("utf-8").strip()


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "contents": contents,
    "columns": columns,
    "mapping": mapping,
    "problems": problems,
    "request members": request_members,
    "answer members": answer_members,
    "settings": configuration,
    "record fields": record_fields,
    "record kinds": record_kinds,
    "failures": failures,
    "helm values": helm_values,
    "benchmark": benchmark,
    "metrics": metrics,
    "alerts": alerts,
    "trace attributes": attributes,
}


def written(text: str) -> str:
    """Return ``text`` with each marked table as the code has it now."""
    for name, make in TABLES.items():
        begin, end = f"<!-- table: {name} -->", f"<!-- end: {name} -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"the README has no place for the table of {name}")
        text = f"{before}{begin}\n\n{make()}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    README.write_text(written(README.read_text("utf-8")), "utf-8")
