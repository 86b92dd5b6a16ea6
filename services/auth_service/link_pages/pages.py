"""What the pages say, and the headers under which a page with a token in its address is safe to open."""

import base64
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_TEMPLATES: Final = Path(__file__).parent / "templates"
_PAGES: Final = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
_SCRIPT: Final = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
_DIGEST: Final = base64.b64encode(sha256(_SCRIPT.encode()).digest()).decode()

# The address holds a token that opens an account: nothing may be loaded that would be told of it, no other
# script runs, nobody frames the page, and no cache keeps it.
HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'sha256-{_DIGEST}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One input: the name that the API calls it by, what a person calls it, its type and autocomplete."""

    name: str
    label: str
    kind: str
    hint: str


@dataclass(frozen=True, slots=True)
class LinkPage:
    """A page with a form, the route that it is posted to, and what is said when that went well."""

    title: str
    button: str
    call: str
    done: str
    fields: tuple[Field, ...] = ()

    @property
    def html(self) -> str:
        """The page's document, the same for whoever asks."""
        # The script is ours and is named by its digest; it holds nothing that anybody has written.
        return _PAGES.get_template("page.html").render(page=self, script=Markup(_SCRIPT))  # noqa: S704


INVITATION: Final = LinkPage(
    "You are invited",
    "Join",
    "/api/v1/auth/invitations/accept",
    "Welcome. You can sign in with your address and this password now.",
    (
        Field("name", "Your name", "text", "name"),
        Field("password", "A password", "password", "new-password"),
    ),
)
RESET: Final = LinkPage(
    "A new password",
    "Set it",
    "/api/v1/auth/password/reset",
    "Your password is set. You can sign in with it now.",
    (Field("newPassword", "The new password", "password", "new-password"),),
)
EMAIL: Final = LinkPage(
    "Your new address",
    "Confirm it",
    "/api/v1/auth/email/confirm",
    "The address is confirmed. It is the one that you sign in with from now on.",
)
