from tests.settings.reference import SCHEMA, reference


class TestReference:
    def test_every_key_has_its_row(self) -> None:
        """The table holds every key of every section."""
        table = reference()
        sections = [SCHEMA, *SCHEMA["$defs"].values()]
        keys = {key for section in sections for key in section.get("properties", ())} - {"method"}
        assert [] == [
            key for key in sorted(keys) if f".{key}`" not in table and f"`{key}`" not in table
        ]

    def test_every_method_has_its_rows(self) -> None:
        """Each way to prove something stands with the keys that are its own."""
        table = reference()
        methods = [
            shape["properties"]["method"]["const"]
            for shape in SCHEMA["$defs"].values()
            if "method" in shape.get("properties", {})
        ]
        assert [] == [method for method in methods if f"({method})." not in table]
