import pytest

from mis_tenancy.access import require_grant, require_rank
from mis_tenancy.errors import PermissionDenied
from mis_tenancy.identifiers import new_id
from mis_tenancy.tenant import Principal, PrincipalKind, Role
from user_service.users.errors import LastOwner
from user_service.users.rules import refuse_visiting_operator, require_other_owner


def principal(kind: PrincipalKind, role: Role | None) -> Principal:
    return Principal(id=new_id(), kind=kind, tenant_id=new_id(), role=role)


@pytest.mark.parametrize("target", list(Role))
def test_a_principal_without_a_role_manages_nobody(target: Role) -> None:
    with pytest.raises(PermissionDenied):
        require_rank(principal(PrincipalKind.API_KEY, None), target)
    with pytest.raises(PermissionDenied):
        require_grant(principal(PrincipalKind.API_KEY, None), target)


def test_an_operator_who_visits_a_tenant_sets_neither_passwords_nor_roles() -> None:
    """Catalogue 76."""
    with pytest.raises(PermissionDenied):
        refuse_visiting_operator(principal(PrincipalKind.OPERATOR, Role.ADMIN), "set passwords")
    refuse_visiting_operator(principal(PrincipalKind.MEMBER, Role.ADMIN), "set passwords")


@pytest.mark.parametrize(
    ("status", "others", "stays"),
    [
        ("active", ["active"], True),
        ("active", ["invited", "disabled"], False),
        ("active", [], False),
        ("invited", ["invited"], True),
        ("invited", ["active"], True),
        ("invited", ["disabled"], False),
    ],
)
def test_an_owner_is_replaced_by_one_who_can_do_as_much(status: str, others: list[str], stays: bool) -> None:
    if stays:
        require_other_owner(status, others)
    else:
        with pytest.raises(LastOwner):
            require_other_owner(status, others)
