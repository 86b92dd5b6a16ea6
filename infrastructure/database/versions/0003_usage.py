"""Usage adds up by hour, day, route and user, with latency histograms; what tenants hold is noted by the hour."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BOUND = "nullif(current_setting('app.tenant_id', true), '')::uuid"
TO_ADD = "select, insert, update"
EVERYTHING = "select, insert, update, delete"

# Table, then the privileges of mis_app and of mis_platform. Who did what is the tenant's own: of users the
# platform sees only what retention and purge go by.
TABLES = {
    "usage_days": (TO_ADD, EVERYTHING),
    "usage_route_days": (TO_ADD, EVERYTHING),
    "usage_user_days": (TO_ADD, "delete, select (tenant_id, day)"),
    "usage_members": (TO_ADD, "delete, select (tenant_id, last_hour)"),
    "usage_levels": (TO_ADD, EVERYTHING),
}

MAPS = {
    "latency": "by bucket of mis_tenancy.latency",
    "statuses": "by HTTP status",
    "features": "by feature of the plan",
}


def upgrade() -> None:
    for name, comment in MAPS.items():
        op.add_column("usage_hours", counts(name, comment))
    op.add_column("tenant_counters", number("files"))
    op.create_check_constraint(op.f("ck_tenant_counters_files_not_negative"), "tenant_counters", "files >= 0")
    tables()
    for table, (app, platform) in TABLES.items():
        op.execute(f"alter table {table} enable row level security")
        op.execute(f"alter table {table} force row level security")
        policy(table, "owner", "mis_owner", "true")
        policy(table, "tenant_isolation", "mis_app, mis_platform", f"tenant_id = {BOUND}")
        policy(table, "platform", "mis_platform", "true")
        op.execute(f"grant {app} on {table} to mis_app")
        op.execute(f"grant {platform} on {table} to mis_platform")


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    op.drop_constraint(op.f("ck_tenant_counters_files_not_negative"), "tenant_counters")
    op.drop_column("tenant_counters", "files")
    for name in reversed(MAPS):
        op.drop_column("usage_hours", name)


def tables() -> None:
    create("usage_days", [moment("day"), *totals(), counts("hours", "by hour of the day")], "day")
    create(
        "usage_route_days",
        [
            moment("day"),
            sa.Column("route", sa.Text(), nullable=False),
            *sums(),
            counts("latency", MAPS["latency"]),
        ],
        "day",
        "route",
    )
    create(
        "usage_user_days",
        [
            moment("day"),
            sa.Column("actor", sa.Uuid(), nullable=False),
            sa.Column("actor_kind", sa.Text(), nullable=False),
            *sums(),
            sa.Column(
                "hours",
                sa.Integer(),
                server_default=sa.text("0"),
                nullable=False,
                comment="bit n: a request in the hour n of the day",
            ),
        ],
        "day",
        "actor",
    )
    create("usage_members", [sa.Column("user_id", sa.Uuid(), nullable=False), moment("last_hour")], "user_id")
    op.create_index("ix_usage_members_last_hour", "usage_members", ["tenant_id", "last_hour"])
    held = [sa.Column(name, sa.BigInteger(), nullable=False) for name in ("users", "storage_bytes")]
    hourly = counts("hours", "[users, storage_bytes] at the end of an hour of the day")
    create("usage_levels", [moment("day"), *held, hourly], "day")


def create(table: str, columns: list[sa.Column], *key: str) -> None:
    """Create a tenant's table whose primary key is `tenant_id` and `key`."""
    op.create_table(
        table,
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", *key, name=op.f(f"pk_{table}")),
    )


def moment(name: str) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def number(name: str, comment: str | None = None) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment=comment)


def counts(name: str, comment: str) -> sa.Column:
    return sa.Column(
        name, postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False, comment=comment
    )


def sums() -> list[sa.Column]:
    return [number(name) for name in ("requests", "errors", "client_errors", "rejected")]


def totals() -> list[sa.Column]:
    counted = number("counted", "requests that used up daily quota")
    return [*sums(), counted, *(counts(name, comment) for name, comment in MAPS.items())]


def policy(table: str, name: str, roles: str, condition: str) -> None:
    """Create a policy whose USING and WITH CHECK are the same condition."""
    op.execute(
        f"create policy {name} on {table} for all to {roles} using ({condition}) with check ({condition})"
    )
