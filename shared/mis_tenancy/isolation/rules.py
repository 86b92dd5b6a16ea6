"""Judges what the catalogue says: each function returns what breaks one rule, in words."""

from collections.abc import Collection, Sequence
from typing import Final

from mis_tenancy.isolation.expectations import (
    APPLICATION,
    BOUND,
    KEYED_APART,
    NEVER_CROSSED,
    OWNER,
    PLATFORM,
    SHARED,
    expected_policies,
)
from mis_tenancy.isolation.facts import Policy, Role, Table

# A role that inherits another's rights: auth-service does what every service does.
_MAY_BE_MEMBER: Final = {"mis_auth": {"mis_app"}}
_PUBLIC: Final = "public"


def strong_roles(roles: Sequence[Role]) -> list[str]:
    """Return what lets a role of the application see past row-level security."""
    wrong = []
    for role in roles:
        if role.is_strong:
            wrong.append(f"{role.name} is superuser, has BYPASSRLS or may make roles")
        if role.owns_tables:
            wrong.append(f"{role.name} owns tables")
        others = set(role.member_of) - _MAY_BE_MEMBER.get(role.name, set())
        wrong += [f"{role.name} can act as {other}" for other in sorted(others)]
        if role.is_current and role.name != APPLICATION[0]:
            wrong.append(f"this service is connected as {role.name}")
    return wrong


def open_tables(tables: Sequence[Table]) -> list[str]:
    """Return the tables whose row-level security is not enabled, or not forced upon their owner."""
    return [f"{one.name} lacks ENABLE" for one in tables if not one.is_enabled] + [
        f"{one.name} lacks FORCE" for one in tables if not one.is_forced
    ]


def wrong_policies(tables: Sequence[Table]) -> list[str]:
    """Return the policies that are missing, that read differently, or that let more through."""
    wrong = []
    for table in tables:
        expected = expected_policies(table.name)
        wrong += [f"{table.name} lacks {one.name}" for one in expected if not _has(table, one)]
        wrong += [
            f"{table.name}.{one.name} lets more through"
            for one in table.policies
            if one not in expected and not _is_harmless(table.name, one)
        ]
    return wrong


def wrong_keys(tables: Sequence[Table], everybodys: Collection[str]) -> list[str]:
    """Return the keys over which one tenant's rows could touch or betray another's.

    A foreign key that leads to one of the tables `everybodys` leads to no tenant's row.
    """
    wrong = []
    for table in tables:
        if table.name in SHARED | KEYED_APART:
            continue
        if not any(key.kind == "primary" and key.columns[0] == "tenant_id" for key in table.keys):
            wrong.append(f"{table.name} has no primary key that leads with tenant_id")
        wrong += [
            f"{table.name}.{key.name} does not contain tenant_id"
            for key in table.keys
            if "tenant_id" not in key.columns and key.target not in everybodys
        ]
    return wrong


def _has(table: Table, expected: Policy) -> bool:
    """Return whether the table has the policy, if only for the roles that serve tenants."""
    return any(
        (one.command, one.using, one.checked) == (expected.command, expected.using, expected.checked)
        and set(expected.roles) - {PLATFORM} <= set(one.roles) <= set(expected.roles)
        for one in table.policies
    )


def _is_harmless(table: str, policy: Policy) -> bool:
    """Return whether a policy beyond the expected ones opens nothing to the roles that serve tenants."""
    if policy.roles == (OWNER,):
        return True
    if policy.roles == (PLATFORM,):
        return table not in NEVER_CROSSED
    # One that says the same for whomever is no wider. Without a check of its own, what is written is held to
    # what may be seen, except for an insert.
    inserts = policy.command == "a"
    reads = inserts or policy.using == BOUND
    writes = policy.checked == BOUND or (policy.checked is None and not inserts)
    return _PUBLIC not in policy.roles and reads and writes
