import ast
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service import metrics as module
from service.deadline import Clock
from service.metrics import METRICS, NAMESPACE, PROBE_METRICS, PROCESS, Kind, Metrics
from tests.house import House, Time

SERVICE: Final = Path(module.__file__).parent
CALLS: Final = frozenset({"count", "observe", "set", "read", "forget", "series"})


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return what is exposed, by name and label values."""
    rows = {row.exposed.removesuffix("_total"): row for row in METRICS}
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (
            sample.name.removeprefix(f"{NAMESPACE}_"),
            tuple(
                sample.labels[x] for x in (*rows[family.name].labels, "le") if x in sample.labels
            ),
        ): sample.value
        for family in families
        if family.name.startswith(NAMESPACE)
        for sample in family.samples
    }


def named() -> Iterator[tuple[str, int]]:
    """Yield every metric that the service's code names, with how many labels it gives."""
    for path in SERVICE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and (name := _metric(node)) is not None:
                yield name


def _metric(node: ast.Call) -> tuple[str, int] | None:
    function = node.func
    arguments = list(node.args)
    if isinstance(function, ast.Name) and function.id == "partial" and arguments:
        function = arguments.pop(0)  # the labels come later
    if not isinstance(function, ast.Attribute) or function.attr not in CALLS:
        return None
    owner = ast.unparse(function.value)
    if not owner.endswith("metrics") or not arguments or not isinstance(arguments[0], ast.Constant):
        return None
    values = 0 if function.attr in {"count", "forget"} else 1
    labels = -1 if node.func is not function else len(arguments) - 1 - values
    has_no_labels = function.attr in {"forget", "series"}  # not there
    return str(arguments[0].value), -1 if has_no_labels else labels


class TestTable:
    def test_has_every_metric_that_is_counted(self) -> None:
        """Whatever the code counts is a row, with as many labels; every row is counted."""
        labels = {row.name: len(row.labels) for row in (*METRICS, *PROBE_METRICS)}
        seen = set(named())

        assert set() == {(name, n) for name, n in seen if labels.get(name) not in {n, None}} - {
            (name, -1) for name in labels
        }
        assert set(labels) == {name for name, _ in seen}

    def test_names_are_prometheuss(self) -> None:
        """Names are unique, in base units, and counters end in _total."""
        exposed = [row.exposed for row in METRICS]

        assert len(set(exposed)) == len(METRICS)
        assert all(name.startswith("credential_proxy_") for name in exposed)
        assert all(row.exposed.endswith("_total") is (row.kind is Kind.COUNTER) for row in METRICS)
        assert not any("milli" in name or name.endswith("_ms") for name in exposed)

    def test_no_label_has_no_end(self) -> None:
        """No label is a user, a path, a detail or a peer."""
        every = {label for row in METRICS for label in row.labels}

        assert not every & {"uid", "user", "path", "url", "detail", "error", "peer", "subject"}

    def test_no_gauge_is_zero_for_want_of_a_value(self) -> None:
        """A gauge without labels is there from the start, so it must know its value from there."""
        unlabelled = {row.name for row in METRICS if row.kind is Kind.GAUGE and not row.labels}
        text = "".join(path.read_text("utf-8") for path in SERVICE.rglob("*.py"))

        assert set() == {name for name in unlabelled if f'metrics.read("{name}"' not in text}

    def test_what_is_exposed_are_the_rows(self) -> None:
        """The exposition has a line of help and of type for each row, and nothing beside."""
        lines = Metrics().exposition().decode().splitlines()

        helped = {line.split()[2] for line in lines if line.startswith("# HELP")}
        assert {*(row.exposed for row in METRICS), *PROCESS} == helped


class TestMetrics:
    def test_counts_measures_and_sets(self) -> None:
        """A counter grows, a histogram takes measurements, a gauge is what it was set to last."""
        metrics = Metrics()

        metrics.count("problems", "no-session")
        metrics.count("problems", "no-session", by=2)
        metrics.observe("request_duration_seconds", 0.3, "released")
        metrics.set("breaker_open", 1, "shop")
        metrics.set("breaker_open", 0.5, "shop")

        seen = samples(metrics)
        assert 3 == seen["problems_total", ("no-session",)]
        assert 0.3 == seen["request_duration_seconds_sum", ("released",)]
        assert (0, 1) == (
            seen["request_duration_seconds_bucket", ("released", "0.25")],
            seen["request_duration_seconds_bucket", ("released", "0.5")],
        )
        assert 0.5 == seen["breaker_open", ("shop",)]

    def test_reads_when_it_is_asked(self) -> None:
        """A gauge can ask for its value at each exposition."""
        metrics, values = Metrics(), [1.0, 2.0]
        metrics.read("cache_entries", lambda: values.pop(0))

        assert [1, 2] == [samples(metrics)["cache_entries", ()] for _ in range(2)]

    def test_a_value_that_cannot_be_had_is_not_a_number(self) -> None:
        """One gauge that fails does not take the others away."""
        metrics = Metrics()
        metrics.read("cache_entries", lambda: 1 // 0)
        metrics.set("cache_bytes", 7)

        seen = samples(metrics)
        assert math.isnan(seen["cache_entries", ()])
        assert 7 == seen["cache_bytes", ()]

    def test_prepares(self) -> None:
        """What belongs together is set together, before each exposition, whatever fails there."""
        metrics, turns = Metrics(), iter(range(9))

        def fail() -> None:
            raise ZeroDivisionError

        def tell() -> None:
            turn = next(turns)
            metrics.set("audit_sequence", turn, "file")
            metrics.set("audit_head", turn * 10, "file")

        metrics.prepare(fail)
        metrics.prepare(tell)
        for turn in range(3):
            found = samples(metrics)
            told = [found[name, ("file",)] for name in ("audit_sequence", "audit_head")]
            assert [turn, turn * 10] == told

    def test_forgets(self) -> None:
        """What is about to say something new says nothing old."""
        metrics = Metrics()
        metrics.set("build_info", 1, "0.1.0", "aaaa")
        metrics.set("breaker_open", 1, "shop")

        metrics.forget("build_info")
        metrics.set("build_info", 1, "0.1.0", "bbbb")

        seen = samples(metrics)
        assert [("0.1.0", "bbbb")] == [labels for name, labels in seen if name == "build_info"]
        assert 1 == seen["breaker_open", ("shop",)]

    def test_series_are_those_that_are_counted(self) -> None:
        """Who holds a metric's series counts the same, and begins what is not there yet."""
        metrics = Metrics()
        problems = metrics.series("problems")

        metrics.count("problems", "no-session")
        problems["no-session",].value += 2
        problems["not-found",].value += 1

        seen = samples(metrics)
        told = [seen["problems_total", (code,)] for code in ("no-session", "not-found")]
        assert [3, 1] == told
        with pytest.raises(ValueError, match="as many values"):
            _ = problems["one", "too many"]

    @pytest.mark.parametrize(
        "labels", [(), ("one", "too many"), ("name",)], ids=["none", "more", "as many"]
    )
    def test_never_fails(self, labels: tuple[str, ...]) -> None:
        """An unknown name or wrong labels cost a count, and no request."""
        metrics = Metrics()

        for name in ("problems", "no_such_metric"):
            metrics.count(name, *labels)
            metrics.set(name, 1, *labels)
            metrics.observe(name, 1, *labels)

        assert metrics.exposition()

    def test_two_processes_in_one_do_not_meet(self) -> None:
        """Each has a registry of its own; nothing is global."""
        one, other = Metrics(), Metrics()
        one.count("problems", "no-session")

        assert ("problems_total", ("no-session",)) not in samples(other)


class TestWhatIsCounted:
    async def test_of_requests(self, tmp_path: Path) -> None:
        """Each request counts by caller and by what it means to the objectives, once."""
        house = House(tmp_path)
        async with house.open() as visitor:
            await visitor.ask()
            await visitor.ask(provider="facebook")
            await visitor.ask(uid="user-expired")
            await visitor.ask(token=None)
            await visitor.get("/v1/grants")
            house.simulator.knobs.turn(error_code=403007)
            await visitor.ask()

        seen = samples(house.metrics)
        requests = {k[1]: v for k, v in seen.items() if k[0] == "requests_total" and v}
        assert {
            ("crm", "released"): 1,
            ("crm", "refused"): 1,
            ("crm", "reauthenticate"): 1,
            ("none", "refused"): 1,
            ("crm", "answered"): 1,
            ("crm", "failed"): 1,
        } == requests
        problems = {k[1][0]: v for k, v in seen.items() if k[0] == "problems_total" and v}
        assert {
            "no-session": 1,
            "reauthentication-required": 1,
            "unauthenticated": 1,
            "upstream-rejected": 1,
        } == problems
        assert 3 == seen["provider_requests_total", ("twitter", "released")] + sum(
            seen["provider_requests_total", ("twitter", result)]
            for result in ("reauthenticate", "failed")
        )
        assert 1 == seen["upstream_requests_total", ("shop", "no_session")]
        assert (5, 1) == tuple(
            seen["authentications_total", labels]
            for labels in (("tokens", "ok"), ("none", "refused"))
        )

    async def test_of_callers_in_a_hurry(self, tmp_path: Path) -> None:
        """Who gives Gigya less time than it takes burns nobody's budget, and is told the same."""
        house = House(tmp_path, clock=Clock(wall=Time().wall, monotonic=time.monotonic))
        async with house.open() as visitor:
            house.simulator.knobs.turn(delay=0.3)
            answer = await visitor.ask(headers={"request-timeout": "0.05"})

        assert 504 == answer.status_code
        seen = samples(house.metrics)
        requests = {k[1]: v for k, v in seen.items() if k[0] == "requests_total" and v}
        assert {("crm", "abandoned"): 1} == requests
        assert 1 == seen["problems_total", ("upstream-timeout",)]

    async def test_of_certificates(self, tmp_path: Path) -> None:
        """Without a certificate there is none whose end could be near."""
        house = House(tmp_path)
        async with house.open():
            seen = samples(house.metrics)

        assert [] == [name for name, _ in seen if name.startswith("certificate_expiry")]

    async def test_of_limits(self, tmp_path: Path) -> None:
        """A limit that was hit is counted with its caller."""
        house = House(tmp_path)
        house.settings["callers"][0]["limits"] = {"distinct_users": {"count": 1, "window": 60}}
        async with house.open() as visitor:
            await visitor.ask()
            answer = await visitor.ask(uid="user-google", provider="google")

        assert (429, "60") == (answer.status_code, answer.headers["retry-after"])
        assert 1 == samples(house.metrics)["limits_hit_total", ("crm", "limit-distinct-users")]

    async def test_of_the_build(self, tmp_path: Path) -> None:
        """The running version and configuration are told, and the new ones after a change."""
        house = House(tmp_path)
        told = []
        async with house.open() as visitor:
            for name in ("first", "second"):
                house.settings["callers"][1]["name"] = name
                house.write_configuration()
                await visitor.look()
                seen = samples(house.metrics)
                told.append([labels for metric, labels in seen if metric == "build_info"])

        [[first], [second]] = told
        assert first != second
