"""Turns templates into pages under headers that leave an attacker nothing to work with.

A page loads nothing from elsewhere and runs no script or style but the ones that its policy names by their
digest; nobody frames it, no cache keeps it, and no address leaks from it.
"""

import base64
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from auth_service.html.palette import Palette
from mis_http.looks import DEFAULT_LOOK, Look

_SERVICE: Final = Path(__file__).parents[1]
# Templates are named by their path in the service, so that each feature keeps its own.
_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(_SERVICE),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_STYLE: Final = (_SERVICE / "html/templates/style.css").read_text(encoding="utf-8")

_HEADERS: Final = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def rendered(
    template: str,
    *,
    look: Look = DEFAULT_LOOK,
    status: int = 200,
    headers: dict[str, str] | None = None,
    script: str = "",
    submits: bool = True,
    **values: Any,
) -> HTMLResponse:
    """Return the page of `template` (its path in the service) in the tenant's look.

    `script` is a script of ours, whole; it may call this origin and nothing else. Without `submits` only the
    script sends what the page's forms hold.
    """
    style = style_of(Palette.of(look.colors))
    # Both are files of this service, with no word in them that anybody else has written.
    parts = {"style": Markup(style), "script": Markup(script)}  # noqa: S704
    html = _TEMPLATES.get_template(template).render(**parts, look=look, **values)
    own = {**_HEADERS, "Content-Security-Policy": policy_of(style, script, submits=submits)}
    return HTMLResponse(html, status, headers={**(headers or {}), **own})


@lru_cache(maxsize=512)
def style_of(palette: Palette) -> str:
    """Return the style sheet in the colours, which are hexadecimal and nothing else."""
    named = {
        "background": palette.background,
        "text": palette.text,
        "primary": palette.primary,
        "on-primary": palette.on_primary,
        "link": palette.link,
        "edge": palette.edge,
    }
    colors = " ".join(f"--{name}: {color};" for name, color in named.items())
    return f":root {{ color-scheme: light; {colors} }}\n{_STYLE}"


def policy_of(style: str, script: str, *, submits: bool) -> str:
    """Return the Content-Security-Policy (CSP level 3) under which only these run."""
    running = f"script-src '{_digest(script)}'; connect-src 'self'; " if script else ""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; {running}img-src 'self'; "
        f"form-action '{'self' if submits else 'none'}'; base-uri 'none'; frame-ancestors 'none'"
    )


@lru_cache(maxsize=512)
def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"
