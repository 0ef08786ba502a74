"""The schemas of the OpenAPI document, made from the tables that the code itself works by."""

from typing import Any, Final

from service.api.answer_members import ANSWER_MEMBERS
from service.api.members import MEMBERS
from service.api.problems import PREFIX, PROBLEMS
from service.errors import AccessDenied, Missing
from service.model import GRANTABLE
from service.provider_rows import NAMED, ROWS, Naming, Source

Json = dict[str, Any]

AUDIT_ID: Final[Json] = {"type": "string", "pattern": "^[0-9a-f]{32}$"}


def schemas() -> Json:
    """Return every named schema."""
    return {
        "TokenRequest": _request(),
        "TokenAnswer": _answer(),
        "FieldNames": _FIELD_NAMES,
        "Mapping": _MAPPING,
        "MappingRow": _row(),
        "Grants": _GRANTS,
        "Problem": _problem(),
    }


def _request() -> Json:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [member.name for member in MEMBERS if member.is_required],
        "properties": {
            member.name: {**member.schema, "description": member.text} for member in MEMBERS
        },
    }


def _answer() -> Json:
    return {
        "type": "object",
        "required": [member.name for member in ANSWER_MEMBERS if member.is_always],
        "properties": {
            member.name: {**member.schema, "description": member.text} for member in ANSWER_MEMBERS
        },
    }


def _problem() -> Json:
    codes = [error.code for error in PROBLEMS]
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "audit_id", "retryable"],
        "properties": {
            "type": {"type": "string", "enum": [PREFIX + code for code in codes]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string", "enum": codes},
            "audit_id": AUDIT_ID,
            "retryable": {"type": "boolean"},
            "missing": {
                "type": "string",
                "enum": [missing.value for missing in Missing],
                "description": f"Only with {AccessDenied.code}.",
            },
        },
    }


_TEXTS: Final[Json] = {"type": "array", "items": {"type": "string"}}

_FIELD_NAMES: Final[Json] = {
    "type": "object",
    "description": "The provider's names by Gigya's.",
    "additionalProperties": False,
    "required": [NAMED[0].value],
    "properties": {field.value: {"type": "string"} for field in NAMED},
}

_NAMES: Final[Json] = {"$ref": "#/components/schemas/FieldNames"}


def _row() -> Json:
    return {
        "type": "object",
        "required": ["provider", "aliases", "source", "evidence"],
        "properties": {
            "provider": {
                "type": "string",
                "description": "A SAML or OIDC name of a site's own, or one of these.",
                "examples": [row.name for row in ROWS],
            },
            "aliases": _TEXTS,
            "source": {"type": "string", "enum": [source.value for source in Source]},
            "evidence": {"type": "string"},
            "names": _NAMES,
            "decided_by": {
                "type": "string",
                "enum": ["row", "reply"],
                "description": "reply: oauth1 where it holds a tokenSecret, oauth2 where not.",
            },
        },
    }


_ROWS: Final[Json] = {"type": "array", "items": {"$ref": "#/components/schemas/MappingRow"}}

_SITE: Final[Json] = {
    "type": "object",
    "required": ["naming", "providers"],
    "properties": {
        "naming": {
            "type": "string",
            "enum": [naming.value for naming in Naming],
            "description": "documented: the row's names, whatever its decided_by says.",
        },
        "providers": {**_ROWS, "description": "The site's own rows, instead of the table's."},
    },
}

_MAPPING: Final[Json] = {
    "type": "object",
    "required": ["columns", "providers", "sites"],
    "properties": {
        "columns": {"type": "object", "additionalProperties": _NAMES},
        "providers": _ROWS,
        "sites": {
            "type": "object",
            "description": "What each site that the asking caller is granted makes of the table.",
            "additionalProperties": _SITE,
        },
    },
}


_GRANT: Final[Json] = {
    "type": "object",
    "required": ["site", "providers", "fields", "user_proof"],
    "properties": {
        "site": {"type": "string"},
        "providers": {"oneOf": [{"const": "all"}, _TEXTS]},
        "fields": {"type": "array", "items": {"enum": [field.value for field in GRANTABLE]}},
        "user_proof": {"enum": ["none", "uid_signature"]},
    },
}

_GRANTS: Final[Json] = {
    "type": "object",
    "required": ["caller", "grants"],
    "properties": {"caller": {"type": "string"}, "grants": {"type": "array", "items": _GRANT}},
}
