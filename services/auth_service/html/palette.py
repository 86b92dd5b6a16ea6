"""The colours of a page: the tenant's, as far as everybody can read them.

A tenant may set any colours, and nothing is refused for their contrast. So the page holds them to what WCAG
2.2 asks (§1.4.3, §1.4.11), and where they do not reach it, takes one that does.
"""

from dataclasses import dataclass
from typing import Final, Self

from mis_http.colors import DEFAULTS, ColorRole, Colors, contrast_ratio

_TEXT: Final = 4.5
_SEEN: Final = 3.0
_BLACK: Final = "#000000"
_WHITE: Final = "#ffffff"


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of which each text stands out from what it stands on; `edge` is that of what only is seen."""

    background: str
    text: str
    primary: str
    on_primary: str
    link: str
    edge: str

    @classmethod
    def of(cls, colors: Colors) -> Self:
        """Return the palette of a tenant's colours, with the platform's for those that it left out."""
        whole = {**DEFAULTS, **colors}
        background, primary = whole[ColorRole.BACKGROUND], whole[ColorRole.PRIMARY]
        text = _first(_TEXT, background, whole[ColorRole.TEXT], most_readable_on(background))
        return cls(
            background=background,
            text=text,
            primary=primary,
            on_primary=most_readable_on(primary),
            link=_first(_TEXT, background, whole[ColorRole.ACCENT], text),
            edge=_first(_SEEN, background, primary, text),
        )


def most_readable_on(background: str) -> str:
    """Return black or white, whichever stands out more; on any colour one of them does by 4.5 or more."""
    return max((_WHITE, _BLACK), key=lambda color: contrast_ratio(color, background))


def _first(required: float, background: str, wanted: str, instead: str) -> str:
    return wanted if contrast_ratio(wanted, background) >= required else instead
