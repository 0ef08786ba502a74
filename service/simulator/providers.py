"""The providers that any version of Gigya's documentation names (facts.md §1.6, §1.7)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Family(StrEnum):
    """What a session with a provider consists of."""

    FACEBOOK = "facebook"  # a token and its expiry
    OAUTH1 = "oauth1"  # a token and its secret
    OAUTH1_SESSION = "oauth1_session"  # these with a session handle and two expiries
    OAUTH2 = "oauth2"  # a token, its expiry, a refresh token


ALIASES: Final[Mapping[str, str]] = {
    "messenger": "microsoft",
    "googleplus": "google",
    "orangefrance": "orangefr",
    "paypal": "paypaloauth",
}

_OAUTH1: Final = ("twitter", "hi5", "kaixin", "skyrock", "vznet", "xing", "myspace", "orkut")
_OAUTH2: Final = (
    "google",
    "linkedin",
    "yahoo",
    "microsoft",
    "foursquare",
    "renren",
    "qq",
    "sina",
    "vkontakte",
    "mixi",
    "yahoojapan",
    "spiceworks",
    "odnoklassniki",
    "amazon",
    "wechat",
    "wordpress",
    "blogger",
    "paypaloauth",
    "netlog",
    "line",
    "livedoor",
    "aol",
    "orangefr",
    "instagram",
    "livejournal",
    "apple",
    "kakao",
    "naver",
)

FAMILIES: Final[Mapping[str, Family]] = {
    "facebook": Family.FACEBOOK,
    **dict.fromkeys(_OAUTH1, Family.OAUTH1),
    **dict.fromkeys(_OAUTH2, Family.OAUTH2),
    "saml-acme": Family.OAUTH2,
    "oidc-acme": Family.OAUTH2,
}
"""Every provider that a user is seeded for, with the kind of session it gives today."""

FORMER_OAUTH1: Final = ("google", "yahoo", "linkedin")
"""OAuth 2 today; the documented table still has them in the OAuth 1 column."""


def canonical(provider: str) -> str:
    """Return the current documentation's name of ``provider``."""
    return ALIASES.get(provider, provider)


def is_known(provider: str) -> bool:
    """Whether Gigya has a provider of that name; it is matched in its exact case."""
    return canonical(provider) in FAMILIES or provider.startswith(("saml-", "oidc-"))
