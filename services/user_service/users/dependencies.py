"""What the user routes are handed: the caller's permission, the tenant's users, the user of the path."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Query, Request

from mis_accounts.passwords import Passwords
from mis_http.schemas import Text
from mis_mail.queue import MailQueue
from mis_tenancy.access import Permission
from mis_tenancy.fastapi import Admitted, CurrentTenant, Session, requires, tenancy_of
from mis_tenancy.tenant import Principal, Role
from user_service.users.addresses import AddressChanges
from user_service.users.errors import UserNotFound
from user_service.users.filters import UserFilter
from user_service.users.schemas import Status
from user_service.users.service import Users

CanReadUsers = Annotated[Principal, requires(Permission.USERS_READ)]
CanWriteUsers = Annotated[Principal, requires(Permission.USERS_WRITE)]


async def users_of_tenant(request: Request, session: Session, tenant: CurrentTenant, by: Admitted) -> Users:
    """Return the users of the request's tenant."""
    passwords: Passwords = request.app.state.passwords
    tenancy = tenancy_of(request)
    mails = MailQueue(tenancy.wrapping)
    addresses = AddressChanges(session, tenant, mails, tenancy.settings.issuer)
    return Users(session, tenant, by, passwords, addresses)


TenantUsers = Annotated[Users, Depends(users_of_tenant)]


async def user_of_path(user_id: Annotated[str, Path(description="The user's id.")]) -> UUID:
    """Return the id in the path; what is no id names no user."""
    try:
        return UUID(user_id)
    except ValueError as error:
        raise UserNotFound from error


UserId = Annotated[UUID, Depends(user_of_path)]


async def wanted_users(
    q: Annotated[
        Text, Query(max_length=200, description="Beginnings of the e-mail or of the name's words.")
    ] = "",
    role: Role | None = None,
    status: Status | None = None,
) -> UserFilter:
    """Read the list's filters."""
    return UserFilter(q, role, status)


Wanted = Annotated[UserFilter, Depends(wanted_users)]
