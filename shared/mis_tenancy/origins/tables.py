"""The table of the keys under which audit rows keep where their actor was (see `actor_keys`)."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped

from mis_tenancy.tables import Base, TenantScoped


class ActorKeyRow(TenantScoped, Base):
    """A key under which an actor's audit rows keep their origin, wrapped by a master key.

    An actor may have several, made by processes that did not know of each other's. Erased ones are empty, and
    say that the actor gets none any more. The nil `actor` stands for strangers.
    """

    __tablename__ = "audit_actor_keys"

    id: Mapped[UUID]
    actor: Mapped[UUID]
    wrapped_key: Mapped[bytes]
    master_key_id: Mapped[str]
    erased_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        Index("ix_audit_actor_keys_actor", "tenant_id", "actor", "id"),
    )
