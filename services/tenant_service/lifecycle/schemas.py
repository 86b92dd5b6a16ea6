"""Tenants on the wire."""

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StringConstraints
from pydantic_core import PydanticCustomError

from mis_http.free_json import FreeObject
from mis_http.person_fields import Name as PersonName
from mis_http.person_fields import printable
from mis_http.schemas import Moment, RequestBody, ResponseBody, Text
from mis_tenancy.plans import Feature, PlanName
from mis_tenancy.slugs import parse_slug
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import TenantStatus
from tenant_service.domains.names import parse_domain
from tenant_service.lifecycle.amendment import Amendment
from tenant_service.lifecycle.creation import NewOwner, NewTenant
from tenant_service.lifecycle.document import TenantDocument
from tenant_service.lifecycle.rules import LIMITS, shown_settings

# The default of a field that may be left out and may not be null.
_ABSENT: Any = None
_COLUMNS = ("name", "slug", "subdomain", "domain", *LIMITS)


def _slug(text: str) -> str:
    slug = parse_slug(text)
    if slug is None:
        raise PydanticCustomError(
            "slug_invalid", "takes 3 to 63 letters, digits and hyphens, no hyphen at either end"
        )
    return slug


def _domain(text: str) -> str:
    try:
        return parse_domain(text)
    except ValueError as error:
        raise PydanticCustomError("domain_invalid", "takes a domain name such as example.org") from error


Name = Annotated[Text, StringConstraints(min_length=1, max_length=200), AfterValidator(printable)]
Slug = Annotated[Text, StringConstraints(max_length=63), AfterValidator(_slug)]
Domain = Annotated[Text, StringConstraints(max_length=254), AfterValidator(_domain)]
Limit = Annotated[StrictInt, Field(ge=1, le=10**9)]


class OwnerIn(RequestBody):
    """The tenant's first owner; without a password the account waits for an invitation."""

    email: Annotated[Text, StringConstraints(max_length=320)]
    name: PersonName | None = None
    # Taken as it is: white space at either end is part of a password.
    password: (
        Annotated[str, StringConstraints(strip_whitespace=False, max_length=4096), AfterValidator(printable)]
        | None
    ) = Field(None, repr=False)


class TenantCreate(RequestBody):
    """A tenant to be made; limits and features left out are the plan's, null is unlimited."""

    name: Name
    slug: Slug
    domain: Domain | None = None
    subdomain: Slug | None = None
    plan: PlanName = PlanName.BASIC
    max_users: Limit | None = None
    max_storage: Limit | None = Field(None, description="GiB.")
    features: dict[Feature, StrictBool] = Field(default_factory=dict)
    settings: FreeObject = Field(default_factory=dict)
    owner: OwnerIn | None = None

    def value(self) -> NewTenant:
        """Return what the body asks for."""
        owner = self.owner
        return NewTenant(
            name=self.name,
            slug=self.slug,
            subdomain=self.subdomain or self.slug,
            plan=self.plan,
            domain=self.domain,
            limits={name: getattr(self, name) for name in LIMITS if name in self.model_fields_set},
            features=self.features,
            settings=self.settings,
            owner=None if owner is None else NewOwner(owner.email, owner.name, owner.password),
        )


class TenantPatch(RequestBody):
    """What is to change; what is left out stays.

    `settings` is a JSON merge patch (RFC 7396): objects merge, null removes.
    `features` lists only those to switch.
    """

    name: Name = Field(default=_ABSENT)
    slug: Slug = Field(default=_ABSENT)
    domain: Domain | None = None
    subdomain: Slug = Field(default=_ABSENT)
    max_users: Limit | None = None
    max_storage: Limit | None = Field(None, description="GiB.")
    features: dict[Feature, StrictBool] = Field(default_factory=dict)
    settings: FreeObject = Field(default_factory=dict)

    def value(self) -> Amendment:
        """Return what the body asks for."""
        columns = {name: getattr(self, name) for name in _COLUMNS if name in self.model_fields_set}
        return Amendment(columns, self.features, self.settings)


class Suspension(RequestBody):
    """Why the tenant is closed; its members are told."""

    reason: Name


class TenantListed(ResponseBody):
    """A tenant in the operators' list: all of it but its settings."""

    id: UUID
    name: str
    slug: str
    domain: str | None
    subdomain: str
    plan: PlanName
    status: TenantStatus
    max_users: int | None
    max_storage: int | None
    features: dict[Feature, bool]
    created_at: Moment
    updated_at: Moment

    @classmethod
    def listed(cls, row: TenantRow, features: dict[Feature, bool]) -> Self:
        """Return the tenant as the list shows it."""
        return cls(**_columns(row), features=features)


class TenantOut(TenantListed):
    """A tenant: `maxStorage` in GiB, null is unlimited; `features` are those in force.

    `ownerInvitation` is there only when the tenant is made with an owner who has no password: the link by
    which they choose one.
    """

    settings: dict[str, Any]
    owner_invitation: str | None = Field(default=None, repr=False, exclude_if=lambda value: value is None)

    @classmethod
    def of(cls, document: TenantDocument) -> Self:
        """Return the tenant as it is shown."""
        features = dict(document.features)
        settings = shown_settings(document.settings, features)
        return cls(
            **_columns(document.row),
            features=features,
            settings=settings,
            owner_invitation=document.owner_invitation,
        )


def _columns(row: TenantRow) -> dict[str, Any]:
    names = TenantListed.model_fields.keys() - {"features"}
    return {name: getattr(row, name) for name in names}
