"""Branding on the wire."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from mis_http.colors import DEFAULTS, ColorRole, contrasts, parse_color
from mis_http.looks import Look, logo_url
from mis_http.schemas import RequestBody, ResponseBody, Text
from mis_tenancy.tenant import Tenant
from tenant_service.branding.logos import LONGEST_TEXT
from tenant_service.branding.service import WantedLook
from tenant_service.lifecycle.schemas import Name


def _color(text: str) -> str:
    try:
        return parse_color(text)
    except ValueError as error:
        raise PydanticCustomError("color_invalid", "takes a colour such as #1d4ed8") from error


Color = Annotated[Text, AfterValidator(_color)]


class ColorsIn(RequestBody):
    """Colours as `#rgb` or `#rrggbb`; those left out are the platform's."""

    primary: Color | None = None
    accent: Color | None = None
    background: Color | None = None
    text: Color | None = None

    def value(self) -> dict[ColorRole, str]:
        """Return the colours that are set."""
        given = {role: getattr(self, role.value) for role in ColorRole}
        return {role: color for role, color in given.items() if color is not None}


class BrandingIn(RequestBody):
    """A tenant's look as a whole: what is left out or null is the platform's.

    `logo` takes PNG, JPEG or WebP of at most 256 KiB as a `data:` URL or, to keep it, the URL it was read as.
    """

    name: Name | None = None
    colors: ColorsIn = Field(default_factory=ColorsIn)
    logo: Annotated[Text, StringConstraints(max_length=LONGEST_TEXT)] | None = None

    def value(self) -> WantedLook:
        """Return what the body asks for."""
        return WantedLook(self.name, self.colors.value(), self.logo)


class ColorsOut(ResponseBody):
    """Every colour, the platform's where the tenant has set none."""

    primary: str
    accent: str
    background: str
    text: str


class PublicBranding(ResponseBody):
    """What a sign-in page shows: `name` and `logo` are null where the tenant shows none of its own."""

    name: str | None
    colors: ColorsOut
    logo: str | None

    @classmethod
    def seen(cls, look: Look, tenant: Tenant) -> Self:
        """Return the look as strangers see it."""
        return cls.model_validate(_shown(look, tenant))


class ContrastOut(ResponseBody):
    """How far one colour stands out from another (WCAG 2.2); a hint, nothing is refused for it."""

    foreground: ColorRole
    background: ColorRole
    ratio: float
    required: float
    passes: bool


class ColorsSet(ResponseBody):
    """The colours that the tenant has set."""

    primary: str | None = None
    accent: str | None = None
    background: str | None = None
    text: str | None = None


class BrandingOut(ResponseBody):
    """The look that a tenant has set, in the shape in which it can be put again, and hints on its colours."""

    name: str | None
    colors: ColorsSet
    logo: str | None
    contrasts: list[ContrastOut]

    @classmethod
    def of(cls, look: Look, tenant: Tenant) -> Self:
        """Return the look as the tenant has set it."""
        hints = [
            ContrastOut(
                foreground=one.foreground,
                background=one.background,
                ratio=one.ratio,
                required=one.required,
                passes=one.passes,
            )
            for one in contrasts(look.colors)
        ]
        colors = {role.value: color for role, color in look.colors.items()}
        logo = logo_url(tenant.slug, look.logo)
        return cls(name=look.name, colors=ColorsSet(**colors), logo=logo, contrasts=hints)


def _shown(look: Look, tenant: Tenant) -> dict[str, object]:
    colors = {role.value: color for role, color in {**DEFAULTS, **look.colors}.items()}
    return {"name": look.name, "colors": colors, "logo": logo_url(tenant.slug, look.logo)}
