import ast
from pathlib import Path

import pytest

SIMULATOR = Path(__file__).parents[2] / "service" / "simulator"


class TestApart:
    @pytest.mark.parametrize("path", sorted(SIMULATOR.glob("*.py")), ids=lambda p: p.name)
    def test_imports(self, path: Path) -> None:
        """The simulator imports nothing else of the service: it cannot share a mistake."""
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if hasattr(node, "names")]
        modules = [
            getattr(node, "module", None) or name.name
            for node in nodes
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in node.names
        ]
        ours = {name for name in modules if name.split(".")[0] == "service"}
        assert {name for name in ours if name.split(".")[1:2] != ["simulator"]} == set()
