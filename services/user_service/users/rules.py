"""Who may do what to whom: the rules of roles, without any I/O."""

from collections.abc import Sequence

from mis_tenancy.errors import PermissionDenied
from mis_tenancy.tenant import Principal, PrincipalKind, Role
from user_service.users.errors import LastOwner


def refuse_visiting_operator(by: Principal, what: str) -> None:
    """Raise PermissionDenied for an operator who acts in the tenant: a visit leaves no way back in behind."""
    if by.kind is PrincipalKind.OPERATOR:
        raise PermissionDenied(f"An operator acting in a tenant cannot {what}.", required=Role.OWNER.value)


def require_other_owner(status: str, others: Sequence[str]) -> None:
    """Raise LastOwner unless an owner remains who can do at least what this one of `status` can.

    An active owner is replaced only by an active one; one who never signed in also by another such.
    """
    able = {"active"} if status == "active" else {"active", "invited"}
    if able.isdisjoint(others):
        raise LastOwner
