"""The two books of sessions: the members', of which each tenant sees its own, and the operators'."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import InstrumentedAttribute

from mis_models.accounts import RefreshTokenRow, SessionRow
from mis_models.platform import OperatorRefreshTokenRow, OperatorSessionRow
from mis_tenancy.tenant import Principal, PrincipalKind, Tenant

AnySessionRow = SessionRow | OperatorSessionRow


@dataclass(frozen=True, slots=True)
class Book:
    """Where sessions of one kind stand: their rows, their tokens' rows, the column that names the holder."""

    sessions: Any
    tokens: Any
    holder: InstrumentedAttribute[UUID]


MEMBERS: Final = Book(SessionRow, RefreshTokenRow, SessionRow.user_id)
OPERATORS: Final = Book(OperatorSessionRow, OperatorRefreshTokenRow, OperatorSessionRow.operator_id)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a session lasts: `idle` between two refreshes, `absolute` from the sign-in on."""

    idle: timedelta
    absolute: timedelta


OPERATORS_LIFETIME: Final = Lifetime(timedelta(hours=1), timedelta(hours=12))


def lifetime_in(tenant: Tenant) -> Lifetime:
    """Return the tenant's lifetime of sessions."""
    configuration = tenant.configuration
    return Lifetime(
        timedelta(seconds=configuration["session.timeout"]),
        timedelta(seconds=configuration["session.absolute_timeout"]),
    )


def place_of(principal: Principal) -> tuple[Book, UUID | None]:
    """Return the book of the principal's session, and the tenant it is kept under.

    An operator who acts in a tenant does so on their own session.
    """
    if principal.kind is PrincipalKind.OPERATOR:
        return OPERATORS, None
    return MEMBERS, principal.tenant_id
