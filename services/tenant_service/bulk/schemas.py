"""The operations of a bulk, as they come and as they are answered."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from pydantic import Field, StrictInt, StringConstraints, TypeAdapter, ValidationError

from mis_http.problems import PartProblem, field_problem
from mis_http.schemas import RequestBody, ResponseBody, Text
from mis_tenancy.errors import BodyMalformed, ValidationFailed
from tenant_service.endings.schemas import LONGEST_GRACE_DAYS
from tenant_service.lifecycle.schemas import Suspension, TenantCreate
from tenant_service.plan_migration.schemas import MigrateIn

Key = Annotated[
    str,
    StringConstraints(pattern=r"^[\x21-\x7e]{1,255}$"),
    Field(description="Lets the operation happen once, however often the bulk is sent within 24 hours."),
]
Named = Annotated[Text, StringConstraints(min_length=1, max_length=64), Field(description="Its id or slug.")]


class CreateOperation(TenantCreate):
    """Make a tenant, as `POST /api/v1/tenants` does."""

    operation: Literal["create"]
    key: Key | None = None


class SuspendOperation(Suspension):
    """Close a tenant to its members."""

    operation: Literal["suspend"]
    tenant_id: Named
    key: Key | None = None


class ReactivateOperation(RequestBody):
    """Open a suspended tenant again."""

    operation: Literal["reactivate"]
    tenant_id: Named
    key: Key | None = None


class MigrateOperation(MigrateIn):
    """Move a tenant to another plan."""

    operation: Literal["migrate"]
    tenant_id: Named
    key: Key | None = None


class DeleteOperation(RequestBody):
    """Close a tenant at once, to be purged after the grace; 30 days where it is left out."""

    operation: Literal["delete"]
    tenant_id: Named
    grace_days: Annotated[StrictInt, Field(ge=0, le=LONGEST_GRACE_DAYS)] | None = None
    key: Key | None = None


Operation = CreateOperation | SuspendOperation | ReactivateOperation | MigrateOperation | DeleteOperation

OPERATION: Final[TypeAdapter[Operation]] = TypeAdapter(Annotated[Operation, Field(discriminator="operation")])


class OutcomeOut(ResponseBody):
    """What became of the operation at `index`, counted from 0.

    `problem` is what one request for it would have met; `replayed` says that an earlier bulk did it;
    `ownerInvitation` is the link by which the first owner of a new tenant chooses a password.
    """

    index: int
    operation: str | None
    ok: bool
    tenant_id: UUID | None = None
    owner_invitation: str | None = None
    replayed: bool = False
    problem: PartProblem | None = None


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """An outcome as it is written; `OutcomeOut` is its schema."""

    index: int
    operation: str | None
    ok: bool
    tenant_id: UUID | None = None
    owner_invitation: str | None = None
    replayed: bool = False
    problem: dict[str, Any] | None = None

    def line(self) -> bytes:
        """Return the outcome's line of the answer."""
        return msgspec.json.encode(self) + b"\n"


def parse(part: bytes) -> Operation:
    """Return the operation that was sent; raise BodyMalformed or ValidationFailed."""
    try:
        return OPERATION.validate_json(part)
    except ValidationError as error:
        found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        raise BodyMalformed("This is not one JSON object.")
    raise ValidationFailed([_unfit(one) for one in found])


def name_of(part: bytes) -> str | None:
    """Return which operation was meant, as far as that can be read."""
    try:
        return msgspec.json.decode(part, type=_Meant).operation
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class _Meant(msgspec.Struct):
    operation: Annotated[str, msgspec.Meta(max_length=32)] | None = None


def _unfit(error: Any) -> dict[str, str]:
    # The path of a field begins with the operation whose body it stands in.
    return field_problem({**error, "loc": error["loc"][1:] or ("operation",)})
