"""What the pages say, and which route each posts its form to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi.responses import HTMLResponse

from auth_service.html.rendering import rendered

_SCRIPT: Final = (Path(__file__).parent / "templates/page.js").read_text(encoding="utf-8")


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

    def answer(self) -> HTMLResponse:
        """Return the page, the same for whoever asks.

        Its address holds a token that opens an account, which only the script may send.
        """
        return rendered("link_pages/templates/page.html", script=_SCRIPT, submits=False, page=self)


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
