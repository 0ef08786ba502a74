import pytest
from jsonschema import Draft202012Validator

from service.settings.document import read
from service.settings.published import json_schema
from tests.settings.broken import BROKEN, Broken
from tests.settings.samples import GOOD

SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


class TestSchema:
    def test_it_is_a_schema(self) -> None:
        """What is published is a schema of its dialect, with a name and a title."""
        Draft202012Validator.check_schema(SCHEMA)
        assert "urn:gigya-credential-proxy:configuration:1" == SCHEMA["$id"]
        assert "gigya-credential-proxy configuration" == SCHEMA["title"]

    def test_it_accepts_what_we_accept(self) -> None:
        """The good configuration, which uses every section, is valid."""
        assert [] == list(VALIDATOR.iter_errors(read(GOOD).data))

    @pytest.mark.parametrize(
        "row", [row for row in BROKEN if row.shape is not None], ids=lambda row: row.id
    )
    def test_it_refuses_what_it_can_know(self, row: Broken) -> None:
        """It refuses each wrong shape, as we do; rules between values are ours alone."""
        assert row.shape is not VALIDATOR.is_valid(read(row.text).data)

    def test_every_key_is_described(self) -> None:
        """Each key has a description: editors show it, and so does the README's reader."""
        sections = {"configuration": SCHEMA, **SCHEMA["$defs"]}
        assert [] == [
            f"{name}.{key}"
            for name, section in sections.items()
            for key, member in section.get("properties", {}).items()
            if not member.get("description")
        ]

    def test_every_mapping_is_closed(self) -> None:
        """No section takes keys that it does not know."""
        objects = [s for s in (SCHEMA, *SCHEMA["$defs"].values()) if s.get("type") == "object"]
        assert [False] * len(objects) == [each["additionalProperties"] for each in objects]
