"""The words that revisions give policies and privileges in."""

from alembic import op

from mis_tenancy.policies import BOUND


def protect(table: str) -> None:
    """Turn row-level security on for everybody, the owner too, and let the owner through by name.

    FORCE binds the owner, so without a policy of its own backfills and dumps would see no rows.
    """
    op.execute(f"alter table {table} enable row level security")
    op.execute(f"alter table {table} force row level security")
    policy(table, "owner", "mis_owner", "true")


def isolate(table: str, roles: str = "mis_app, mis_platform") -> None:
    """Show `roles` only the rows of the transaction's tenant, and accept only such rows from them."""
    policy(table, "tenant_isolation", roles, f"tenant_id = {BOUND}")


def cross(table: str) -> None:
    """Let the platform's role see and touch the rows of every tenant."""
    policy(table, "platform", "mis_platform", "true")


def policy(table: str, name: str, roles: str, condition: str, command: str = "all") -> None:
    """Create a policy whose USING and WITH CHECK are the same condition."""
    check = "" if command == "select" else f" with check ({condition})"
    op.execute(f"create policy {name} on {table} for {command} to {roles} using ({condition}){check}")


def grant(table: str, role: str, privileges: str) -> None:
    """Grant a comma-separated list of privileges, columns included."""
    op.execute(f"grant {privileges} on {table} to {role}")
