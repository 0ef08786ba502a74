import json
from typing import Any, Final

import jsonschema
import orjson
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.api.answer_members import ANSWER_MEMBERS
from service.api.members import MEMBERS
from service.api.openapi import READING, document
from service.api.problems import BEFORE, PROBLEMS, render
from service.catalogue import BASE, describe_catalogue, describe_site
from service.errors import ServiceError
from service.grants import Grant, describe_grant
from service.model import Field, SiteName
from service.providers import Catalogue, FieldNames, Naming, Source
from tests.api.test_problems import AUDIT_ID, example

OPENAPI: Final = document("1.2.3")
TOKENS: Final = OPENAPI["paths"]["/v1/provider-tokens"]["post"]
TABLES: Final = [OPENAPI["paths"][path]["get"] for path in ("/v1/providers", "/v1/grants")]


def validator(schema: str) -> jsonschema.Draft202012Validator:
    """Return a validator of a named schema of the document."""
    whole = {"$ref": f"#/components/schemas/{schema}", "components": OPENAPI["components"]}
    return jsonschema.Draft202012Validator(whole)


def codes(answer: dict[str, Any]) -> set[str]:
    """Return the codes that a documented answer may have."""
    [content] = answer["content"].values()
    return set(content["schema"]["allOf"][1]["properties"]["code"]["enum"])


class TestDocument:
    def test_is_openapi(self) -> None:
        """The document is valid OpenAPI 3.1."""
        assert [] == list(OpenAPIV31SpecValidator(OPENAPI).iter_errors())

    def test_is_json(self) -> None:
        """What is served is what is described."""
        assert OPENAPI == json.loads(orjson.dumps(OPENAPI))
        assert "1.2.3" == OPENAPI["info"]["version"]

    def test_has_every_route(self) -> None:
        """Four routes, one method each; only this document needs no caller."""
        operations = {path: set(methods) for path, methods in OPENAPI["paths"].items()}
        expected = {
            "/v1/provider-tokens": {"post"},
            "/v1/providers": {"get"},
            "/v1/grants": {"get"},
            "/openapi.json": {"get"},
        }
        assert expected == operations
        assert [{}] == OPENAPI["paths"]["/openapi.json"]["get"]["security"]
        assert {"bearer", "certificate"} == {name for way in OPENAPI["security"] for name in way}


class TestMembers:
    def test_has_every_member_of_the_request(self) -> None:
        """Members and which of them are required are those that are read."""
        schema = OPENAPI["components"]["schemas"]["TokenRequest"]
        assert [member.name for member in MEMBERS] == list(schema["properties"])
        assert ["uid", "provider"] == schema["required"]
        assert schema["additionalProperties"] is False

    def test_has_every_member_of_the_answer(self) -> None:
        """Members and which of them are always there are those of the contract."""
        schema = OPENAPI["components"]["schemas"]["TokenAnswer"]
        assert [member.name for member in ANSWER_MEMBERS] == list(schema["properties"])
        always = ["site", "provider", "tokens", "withheld", "cached", "age", "audit_id"]
        assert always == schema["required"]

    @pytest.mark.parametrize(
        "member", [*MEMBERS, *ANSWER_MEMBERS], ids=lambda member: str(member.name)
    )
    def test_says_what_each_is(self, member: Any) -> None:
        """Each member has a sentence."""
        assert member.text.endswith(".")


class TestProblems:
    def test_every_code_has_its_status(self) -> None:
        """The token request documents each code under its status, and no other."""
        expected: dict[str, set[str]] = {}
        for kind, row in PROBLEMS.items():
            expected.setdefault(str(row.status.value), set()).add(kind.code)
        expected["431"] = {"request-too-large"}
        told = {status: codes(a) for status, a in TOKENS["responses"].items() if status != "200"}
        assert expected == told

    @pytest.mark.parametrize("operation", TABLES, ids=lambda operation: operation["operationId"])
    def test_tables_have_fewer(self, operation: dict[str, Any]) -> None:
        """Asking for a table can fail in these ways only."""
        told = set().union(*(codes(a) for s, a in operation["responses"].items() if s != "200"))
        assert {"request-too-large", *(kind.code for kind in READING)} == told

    def test_what_is_no_request_is_answered_on_any_route(self) -> None:
        """Whoever sends none gets one of three answers, wherever it was to go."""
        for methods in OPENAPI["paths"].values():
            [operation] = methods.values()
            for status, kind in BEFORE.items():
                assert kind.code in codes(operation["responses"][str(status.value)])

    @pytest.mark.parametrize("kind", PROBLEMS, ids=lambda kind: kind.code)
    def test_what_is_answered_is_documented(self, kind: type[ServiceError]) -> None:
        """A problem as it is rendered fits its schema, and its headers are documented."""
        status, headers, body = render(example(kind), AUDIT_ID)
        validator("Problem").validate(json.loads(body))
        documented = {name.lower() for name in TOKENS["responses"][str(status)]["headers"]}
        sent = {name.decode() for name, _ in headers}
        assert sent - {"content-type", "content-length"} <= documented | {"audit-id"}
        assert {"audit-id", "cache-control"} <= documented


class TestTables:
    def test_the_mapping_fits(self) -> None:
        """The mapping table is as documented, overrides and all."""
        catalogue = Catalogue({"saml-acme": FieldNames("jwt")})
        sites = {name.value: describe_site(catalogue, name) for name in Naming}
        shown = {**describe_catalogue(BASE), "sites": sites}
        validator("Mapping").validate(json.loads(orjson.dumps(shown)))
        sources = {row["source"] for site in sites.values() for row in site["providers"]}
        assert {Source.CONFIGURED.value} == sources

    def test_grants_fit(self) -> None:
        """Grants are as documented."""
        rows = [
            Grant(site=SiteName("shop"), providers=None, fields=frozenset({Field.AUTH_TOKEN})),
            Grant(
                site=SiteName("shop"),
                providers=frozenset(),
                fields=frozenset({Field.PROVIDER_UID}),
                needs_user_proof=True,
            ),
        ]
        shown = {"caller": "crm-sync", "grants": [describe_grant(row) for row in rows]}
        validator("Grants").validate(json.loads(orjson.dumps(shown)))
