"""Whoever deletes a user lets go of the user's files, because Citus refuses a key that would do it."""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

KEY = "fk_media_tenant_id_owner_id"


def upgrade() -> None:
    point_to_users(None)
    op.execute("grant update (owner_id) on media to mis_app")


def downgrade() -> None:
    op.execute("revoke update (owner_id) on media from mis_app")
    point_to_users("SET NULL (owner_id)")


def point_to_users(ondelete: str | None) -> None:
    """Make the key of a file's owner anew; rows were held to the old one until now."""
    op.drop_constraint(KEY, "media", type_="foreignkey")
    op.create_foreign_key(
        KEY, "media", "users", ["tenant_id", "owner_id"], ["tenant_id", "id"], ondelete=ondelete
    )
