"""Composes mails from a feature's templates: what people have written stays text, and links are only ours.

A value comes from somebody in the end. It is escaped in HTML, kept to one line, and robbed of the mark that
lets a mail program make a link of it: otherwise whoever names a tenant could have us mail links to strangers.
A link is made by `link(path, …)` from the configured public URL and from nothing that a request says
(GHSA-3529-5m8x-rpv3).
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from mis_mail.mail import Mail

# The layout that every mail shares.
_SHARED: Final = Path(__file__).parent / "templates"
_LONGEST_VALUE: Final = 500


class Link(str):
    """A URL below the public one; only `Composition` makes them."""

    __slots__ = ()


class Composition:
    """Composes the mails of the templates in `folder`: `<name>.txt` and `<name>.html` for each.

    `public_url` is where every link leads to.
    """

    def __init__(self, folder: Path, public_url: str) -> None:
        self._public_url = public_url.rstrip("/")
        self._templates = Environment(
            loader=FileSystemLoader([folder, _SHARED]),
            autoescape=select_autoescape(enabled_extensions=("html",), default=False),
            undefined=StrictUndefined,
            finalize=_as_text,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["link"] = self.link

    def link(self, path: str, **query: str) -> Link:
        """Return the URL of a path of ours; raise ValueError for what is none."""
        if not path.startswith("/") or path.startswith("//"):
            raise ValueError("A link in a mail leads to a path of the public URL.")
        asked = f"?{urlencode(query)}" if query else ""
        return Link(f"{self._public_url}{quote(path)}{asked}")

    def compose(
        self,
        name: str,
        *,
        to: str,
        subject: str,
        values: Mapping[str, Any],
        expires_at: datetime | None = None,
    ) -> Mail:
        """Return the mail that the template `name` makes of `values`; raise where one is missing."""
        text, html = (
            self._templates.get_template(f"{name}.{form}").render(values) for form in ("txt", "html")
        )
        return Mail(to=to, subject=one_line(subject), text=text, html=html, expires_at=expires_at)


def one_line(text: str) -> str:
    """Return `text` in one line, of printable characters and at most so long as a value may be."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:_LONGEST_VALUE]


def _as_text(value: Any) -> Any:
    """Return what a template shows of a value."""
    if isinstance(value, Link) or not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return one_line(value).replace("://", ": //")
