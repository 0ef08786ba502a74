"""What an authenticated caller is told about a denial."""

from collections.abc import Mapping
from typing import Final

from service.errors import AccessDenied, Missing


def refusal(missing: Missing) -> AccessDenied:
    """Return the error that tells an authenticated caller what is missing."""
    return AccessDenied(DENIALS[missing], missing=missing)


_SEE_GRANTS: Final = "GET /v1/grants lists what this caller may ask for."

DENIALS: Final[Mapping[Missing, str]] = {
    Missing.SITE: f"No grant of this caller is for that site. {_SEE_GRANTS}",
    Missing.PROVIDER: f"No grant of this caller is for that provider there. {_SEE_GRANTS}",
    Missing.FIELD: f"Not every field asked for is granted there. {_SEE_GRANTS}",
    Missing.USER_PROOF: (
        "The grant asks for proof that the user is present: send uid_signature, as Gigya gave it "
        "to the user's browser a short while ago."
    ),
    Missing.BLOCKED: "One of this caller's limits is 0, which blocks it; the operator set it.",
}
