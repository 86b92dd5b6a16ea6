"""What a page tells a person where the API answers a program with a code."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Words:
    """A page's title and text, and what it offers: a field for a tenant, a way back, the request's number."""

    title: str
    text: str
    asks_for_tenant: bool = False
    leads_back: bool = False
    is_ours: bool = False


# One page for whatever kind of wrong name, so that nothing is learned from which one appears.
_NOBODY: Final = Words(
    "There is no sign-in page here",
    "No organisation signs in at this address. Check the address, or ask whoever gave it to you.",
)
_LATER: Final = Words("Too many tries", "There were too many requests from your network.")

_WORDS: Final = MappingProxyType(
    {
        "tenant_required": Words(
            "Which organisation?", "Say where you want to sign in.", asks_for_tenant=True
        ),
        "tenant_malformed": _NOBODY,
        "tenant_ambiguous": _NOBODY,
        "tenant_conflict": _NOBODY,
        "tenant_not_found": _NOBODY,
        "route_not_found": Words("There is no such page", "Check the address."),
        "method_not_allowed": Words("There is no such page", "Check the address."),
        "csrf_refused": Words(
            "This form was too old",
            "It had been open for too long, or it was sent from another page. Nothing has been done.",
            leads_back=True,
        ),
        "proof_required": Words(
            "You signed in a while ago",
            "More than ten minutes ago, so nothing has been done. Sign out, sign in again, and do it then.",
            leads_back=True,
        ),
        "login_throttled": _LATER,
        "rate_limited": _LATER,
        "sso_not_configured": Words(
            "There is no single sign-on here", "Sign in with your password.", leads_back=True
        ),
        "sso_failed": Words(
            "This sign-in is not valid any more",
            "It took too long, was used before, or was started in another browser. Start it anew.",
            leads_back=True,
        ),
        "sso_declined": Words(
            "You were not signed in", "Your identity provider did not let you in.", leads_back=True
        ),
        "sso_refused": Words(
            "You have no account here",
            "Your identity provider knows you, but this organisation does not. Ask an administrator.",
            leads_back=True,
        ),
        "limit_exceeded": Words(
            "There is no seat left",
            "Your organisation has no seat for a new account. Ask an administrator.",
            leads_back=True,
        ),
        "sso_unavailable": Words(
            "Your identity provider does not answer",
            "It cannot be reached, or is not set up right. Try again later.",
            leads_back=True,
        ),
        "tenant_suspended": Words(
            "This organisation is suspended", "Its owner or its provider can have it opened again."
        ),
        "tenant_pending_deletion": Words(
            "This organisation is about to be deleted", "Its owner can still have it restored."
        ),
        "tenant_unavailable": Words("Just a moment", "Signing in is not possible right now."),
    }
)
_REFUSED: Final = Words("This did not work", "What was sent could not be used. Go back and try again.")
_OURS: Final = Words("Something went wrong on our side", "Please try again.", is_ours=True)


def words_for(code: str, status: int) -> Words:
    """Return the words for a problem's code."""
    return _WORDS.get(code) or (_OURS if status >= 500 else _REFUSED)


def waiting_time(seconds: int) -> str:
    """Return a time to wait as people say it."""
    if seconds <= 1:
        return "a second"
    if seconds <= 90:
        return f"{seconds} seconds"
    return f"{-(-seconds // 60)} minutes"
