"""An invoice as a page to print: one file that fetches nothing and in which nothing can run."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tenant_service.billing.schemas import InvoiceOut

_FILES: Final = Path(__file__).with_name("templates")
_STYLE: Final = (_FILES / "invoice.css").read_text()
_DIGEST: Final = b64encode(sha256(_STYLE.encode()).digest()).decode()

# The style is let in by its digest; scripts, images, frames and forms are not let in at all.
HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def money(cents: int) -> str:
    """Return US cents as dollars; whole-number arithmetic, because these are people's amounts."""
    whole, part = divmod(abs(cents), 100)
    sign = "\N{MINUS SIGN}" if cents < 0 else ""
    return f"{sign}${whole:,}.{part:02d}"


_ENVIRONMENT: Final = Environment(loader=FileSystemLoader(_FILES), autoescape=True, undefined=StrictUndefined)
_ENVIRONMENT.filters |= {"money": money, "day": lambda moment: f"{moment:%Y-%m-%d}"}
_TEMPLATE: Final = _ENVIRONMENT.get_template("invoice.html")


def page_of(invoice: InvoiceOut, tenant_name: str) -> str:
    """Return the invoice as HTML, billed to the tenant of that name."""
    # The style is our own file and must stay as it was digested.
    return _TEMPLATE.render(invoice=invoice, tenant_name=tenant_name, style=Markup(_STYLE))  # noqa: S704
