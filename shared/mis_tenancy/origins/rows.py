"""Origins of audit rows in a session: sealed by themselves when a row is flushed, read back, and erased.

The work is the session's own, so that no feature that records a change can forget it, and so that a row and
its key commit or roll back together.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import event, func, select, text, update
from sqlalchemy.orm import Session, SessionTransaction, UOWTransaction

from mis_tenancy.encryption import Undecryptable
from mis_tenancy.identifiers import new_id
from mis_tenancy.origins.actor_keys import Actor, ActorKey, ActorKeys, key_id_of, owner_of_origin
from mis_tenancy.origins.sealing import UNKNOWN_ORIGIN, Origin
from mis_tenancy.origins.statements import FIND_OR_MAKE, LOCK, LOCK_ALONE, Obtained, Search, columns_of
from mis_tenancy.origins.tables import ActorKeyRow
from mis_tenancy.session import ON_NODES, BoundSession, TenantSession, tenant_of
from mis_tenancy.tables import AuditRow, TenantRow

ACTOR_KEYS: Final = "mis.actor_keys"
_UNCOMMITTED: Final = "mis.uncommitted_actor_keys"


@event.listens_for(BoundSession, "before_flush")
def _before_flush(session: Session, context: UOWTransaction, instances: Any) -> None:
    seal_origins(session)


def seal_origins(session: Session) -> None:
    """Seal what the session's new audit rows say of where they come from; their tenant must be set."""
    rows = [row for row in session.new if isinstance(row, AuditRow) and (row.ip or row.user_agent)]
    if not rows:
        return
    keys: ActorKeys | None = session.info.get(ACTOR_KEYS)
    owners = {row.id: (row.tenant_id, owner_of_origin(row.actor, row.resource)) for row in rows}
    held = {} if keys is None else _held(session, keys, set(owners.values()))
    for row in rows:
        key = held.get(owners[row.id])
        row.origin = None if key is None else key.seal(Origin(row.ip, row.user_agent), row.id)
        row.ip = row.user_agent = None


def _held(session: Session, keys: ActorKeys, actors: set[Actor]) -> dict[Actor, ActorKey]:
    uncommitted: dict[Actor, ActorKey] = session.info.setdefault(_UNCOMMITTED, {})
    held = {}
    for actor in actors:
        if (key := uncommitted.get(actor) or keys.known(actor)) is not None:
            held[actor] = key
    if unknown := sorted(actors - held.keys()):
        obtained = _obtained(session, keys, unknown)
        keys.remember(obtained.found)
        uncommitted |= obtained.made
        held |= obtained.found | obtained.made
    return held


def _obtained(session: Session, keys: ActorKeys, actors: list[Actor]) -> Obtained:
    obtained = Obtained()
    newborn = {row.id for row in session.new if isinstance(row, TenantRow)}
    for tenant_id, actor in actors:
        if tenant_id in newborn:
            obtained.made[tenant_id, actor] = _first_key(session, keys, tenant_id, actor)
    if older := [actor for actor in actors if actor not in obtained.made]:
        _ask(session, keys, older, obtained)
    return obtained


def _first_key(session: Session, keys: ActorKeys, tenant_id: UUID, actor: UUID) -> ActorKey:
    """Make a key in a tenant that is being made itself: nobody can have one there, nor be erased."""
    offer = keys.fresh(tenant_id)
    stored = {"wrapped_key": offer.wrapped, "master_key_id": keys.master_key_id}
    session.add(ActorKeyRow(tenant_id=tenant_id, id=offer.key.id, actor=actor, **stored))
    return offer.key


def _ask(session: Session, keys: ActorKeys, actors: list[Actor], obtained: Obtained) -> None:
    connection, on_nodes = session.connection(), bool(session.info.get(ON_NODES))
    free = connection.exec_driver_sql(LOCK, columns_of(actors)).all()
    for tenant_id in {row[0] for row in free}:
        search = Search(keys, tenant_id, [actor for tenant, actor in free if tenant == tenant_id])
        search.take(connection.exec_driver_sql(FIND_OR_MAKE[on_nodes], search.arguments), obtained)


@event.listens_for(BoundSession, "after_commit")
def _remember(session: Session) -> None:
    # A savepoint's release is no commit: what encloses it may still roll back.
    if session.in_nested_transaction():
        return
    keys: ActorKeys | None = session.info.get(ACTOR_KEYS)
    if (made := session.info.pop(_UNCOMMITTED, None)) and keys is not None:
        keys.remember(made)


@event.listens_for(BoundSession, "after_soft_rollback")
def _forget(session: Session, previous: SessionTransaction) -> None:
    # After a savepoint too: which keys went with it is not known here, and finding them again costs little.
    session.info.pop(_UNCOMMITTED, None)


async def origins_of(session: TenantSession, rows: Sequence[AuditRow]) -> dict[UUID, Origin]:
    """Return where the requests of `rows` came from, by row; what was erased is unknown."""
    opened = await open_origins(session, {row.id: row.origin for row in rows if row.origin is not None})
    return {row.id: opened.get(row.id) or Origin(row.ip, row.user_agent) for row in rows}


async def open_origins(session: TenantSession, sealed: Mapping[UUID, bytes]) -> dict[UUID, Origin]:
    """Return the origins of audit rows, given as they are stored; what was erased is unknown."""
    keys: ActorKeys | None = session.info.get(ACTOR_KEYS)
    if keys is None or not sealed:
        return dict.fromkeys(sealed, UNKNOWN_ORIGIN)
    wanted = {key_id_of(origin) for origin in sealed.values()}
    opened: dict[UUID, ActorKey] = {}
    for stored in await session.scalars(select(ActorKeyRow).where(ActorKeyRow.id.in_(wanted))):
        key = keys.opened(stored.tenant_id, stored.id, stored.wrapped_key, stored.master_key_id)
        if key is not None:
            opened[key.id] = key
    return {row_id: _opened(row_id, origin, opened) for row_id, origin in sealed.items()}


def _opened(row_id: UUID, origin: bytes, opened: Mapping[UUID, ActorKey]) -> Origin:
    key = opened.get(key_id_of(origin))
    try:
        return UNKNOWN_ORIGIN if key is None else key.open(origin, row_id)
    except Undecryptable:
        return UNKNOWN_ORIGIN


async def erase_actor(session: TenantSession, actor: UUID) -> int:
    """Destroy the keys of `actor` in the session's tenant; return how many audit rows lose their origin.

    Nothing that he does afterwards, or that a spool still holds of him, is kept with its origin. Call it
    before other rows are locked: it waits until transactions that are making a key of his have ended.
    """
    names = {"tenant_id": str(tenant_of(session)), "actor": str(actor)}
    # A lock has no rows to narrow to the tenant; its name holds the tenant's id.
    await session.execute(text(LOCK_ALONE), names, execution_options={"unscoped": True})
    now = datetime.now(UTC)
    erased = update(ActorKeyRow).where(ActorKeyRow.actor == actor, ActorKeyRow.erased_at.is_(None))
    await session.execute(erased.values(wrapped_key=b"", erased_at=now))
    # Also where he had no key: it says that he gets none.
    session.add(ActorKeyRow(id=new_id(), actor=actor, wrapped_key=b"", master_key_id="", erased_at=now))
    rows = select(func.count(AuditRow.id)).where(AuditRow.actor == actor, AuditRow.origin.is_not(None))
    return await session.scalar(rows) or 0
