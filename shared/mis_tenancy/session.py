"""The ORM door: a SQLAlchemy session that belongs to one tenant and cannot be talked out of it.

Row-level security is what guarantees isolation. This session makes the right thing happen by itself (criteria
on every ORM statement, `tenant_id` filled on flush) and refuses early, with a message, what the policies
would refuse late or, in the few cases where no SQL is sent, could not see at all: foreign objects attached by
hand and `merge(load=False)`.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Connection, event, inspect
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import (
    InstanceState,
    ORMExecuteState,
    Session,
    SessionTransaction,
    UOWTransaction,
    with_loader_criteria,
)
from sqlalchemy.orm.util import LoaderCriteriaOption

from mis_tenancy.errors import IsolationError, TenantUnbound
from mis_tenancy.postgres.connection import Binding, Bound, TenantConnection, plain_uuid
from mis_tenancy.postgres.criteria import TENANT, narrowed
from mis_tenancy.tables import TenantScoped

_BOUND = "mis.bound"
NEWS = "mis.news"
ON_NEWS = "mis.on_news"
NEWS_TOLD = "mis.news_told"
_WAKES = "mis.wakes"
ON_WAKE = "mis.on_wake"
ON_WRITE = "mis.on_write"
AFTER = "mis.after"
ON_NODES = "mis.on_nodes"


class BoundSession(Session):
    """The synchronous half of both sessions, on which SQLAlchemy's events are heard."""

    def merge(self, instance: Any, *, load: bool = True, **options: Any) -> Any:
        """Refuse `load=False`, which copies a foreign object's state without asking the database."""
        _refuse_unloaded(load)
        return super().merge(instance, load=load, **options)

    def merge_all(self, instances: Any, *, load: bool = True, **options: Any) -> Any:
        """Refuse `load=False`, as `merge` does."""
        _refuse_unloaded(load)
        return super().merge_all(instances, load=load, **options)


class TenantSession(AsyncSession):
    """An AsyncSession of the tenant it is bound to by `bind_tenant`; unbound it sends nothing and raises."""

    sync_session_class = BoundSession


class PlatformSession(AsyncSession):
    """An AsyncSession of the platform, bound to no tenant: the one door that crosses tenants on purpose.

    Its role's policies name the few tables it may see whole; on all others it sees no rows.
    """

    sync_session_class = BoundSession


def bind_tenant(session: TenantSession, tenant_id: UUID) -> None:
    """Bind `session` for its whole life; raise IsolationError if it is bound to another tenant already."""
    tenant = plain_uuid(tenant_id)
    if session.info.setdefault(_BOUND, tenant) != tenant:
        raise IsolationError(
            "A session serves one tenant for its whole life. Open another one for another tenant."
        )


def bind_platform(session: PlatformSession) -> None:
    """Mark `session` as the platform's own."""
    session.info[_BOUND] = Binding.NOBODY


def tenant_of(session: AsyncSession) -> UUID:
    """Return the tenant `session` is bound to; raise TenantUnbound where there is none."""
    bound = _bound(session.sync_session)
    if not isinstance(bound, UUID):
        raise TenantUnbound
    return bound


def wake_after_commit(session: AsyncSession, channel: str) -> None:
    """Wake whoever listens on `channel` once what the session holds is committed, and not before.

    A wake-up carries nothing and may get lost: listeners look by themselves now and then.
    """
    session.info.setdefault(_WAKES, set()).add(channel)


def _bound(session: Session) -> Bound:
    bound: Bound | None = session.info.get(_BOUND)
    if bound is None:
        raise TenantUnbound
    return bound


def _of_tenant(parameters: Any, tenant_id: UUID) -> Any:
    if isinstance(parameters, list):
        return [_of_tenant(one, tenant_id) for one in parameters]
    return {**(parameters or {}), TENANT: tenant_id}


@lru_cache(maxsize=4096)
def _criteria(tenant_id: UUID) -> LoaderCriteriaOption:
    return with_loader_criteria(TenantScoped, lambda cls: cls.tenant_id == tenant_id, include_aliases=True)


@event.listens_for(BoundSession, "after_begin")
def _arm(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    if transaction.nested or connection.in_nested_transaction():
        return
    driver = cast(TenantConnection, connection.connection.driver_connection)
    driver.arm(_bound(session), session.info.get(AFTER), session.info.get(ON_WRITE))


@event.listens_for(BoundSession, "after_commit")
def _spread_news(session: Session) -> None:
    """Announce revocations once they are committed, never before: a savepoint's release is no commit."""
    if session.in_nested_transaction():
        return
    news = session.info.pop(NEWS, ())
    if news and (announce := session.info.get(ON_NEWS)) is not None:
        # What a savepoint took back is news no more, and its row has lost its identity.
        session.info[NEWS_TOLD] = [row for row in news if inspect(row).has_identity]
        announce()


@event.listens_for(BoundSession, "after_commit")
def _wake_listeners(session: Session) -> None:
    """Wake those who wait for what is committed now, without waiting for them."""
    if session.in_nested_transaction():
        return
    channels = session.info.pop(_WAKES, ())
    if (wake := session.info.get(ON_WAKE)) is not None:
        for channel in channels:
            wake(channel)


@event.listens_for(BoundSession, "after_rollback")
def _drop_news(session: Session) -> None:
    # What a savepoint takes back may have been announced before it, and a needless wake-up costs nothing.
    if not session.in_nested_transaction():
        session.info.pop(NEWS, None)
        session.info.pop(_WAKES, None)


@event.listens_for(BoundSession, "do_orm_execute")
def _narrow(state: ORMExecuteState) -> None:
    bound = _bound(state.session)
    if not isinstance(bound, UUID):
        return
    if not state.is_orm_statement and not state.execution_options.get("unscoped"):
        raise IsolationError(
            "A tenant's session takes ORM statements, which it narrows to the tenant by itself. Select the "
            "mapped class instead of its table or text, or pass execution_options(unscoped=True) and say why."
        )
    if state.is_select:
        state.statement = narrowed(state.statement)
        state.parameters = _of_tenant(state.parameters, bound)
    elif state.is_update or state.is_delete:
        state.statement = state.statement.options(_criteria(bound))


@event.listens_for(BoundSession, "before_flush")
def _guard_flush(session: Session, context: UOWTransaction, instances: Any) -> None:
    hold_to_tenant(session, (*session.new, *session.dirty, *session.deleted))


def hold_to_tenant(session: Session, rows: Iterable[object]) -> None:
    """Give the tenant to those of `rows` that have none yet; raise IsolationError for another's."""
    bound = _bound(session)
    if not isinstance(bound, UUID):
        return
    for row in rows:
        if isinstance(row, TenantScoped):
            if not _owners(row):
                row.tenant_id = bound
            _refuse_foreign(row, bound)


@event.listens_for(BoundSession, "before_attach")
def _guard_attach(session: Session, row: object) -> None:
    bound = session.info.get(_BOUND)
    if isinstance(bound, UUID) and isinstance(row, TenantScoped):
        _refuse_foreign(row, bound)


def _owners(row: TenantScoped) -> set[UUID]:
    """Return the tenants the row names: none before a new row's flush, two when its `tenant_id` was changed.

    The identity counts too, because it is what `session.get()` finds the row by without asking the database.
    """
    state: InstanceState[Any] = inspect(row)
    identity = dict(
        zip((column.key for column in state.mapper.primary_key), state.identity or (), strict=False)
    )
    named = (state.dict.get("tenant_id"), identity.get("tenant_id"))
    return {owner for owner in named if owner is not None}


def _refuse_unloaded(load: bool) -> None:
    if not load:
        raise IsolationError(
            "merge(load=False) sends no SQL, so nothing would check the tenant. Load instead."
        )


def _refuse_foreign(row: TenantScoped, bound: UUID) -> None:
    if _owners(row) - {bound}:
        raise IsolationError(
            f"A {type(row).__name__} of another tenant was about to enter this tenant's session. Read it "
            "anew here; what a cache or an earlier request has kept may be anybody's."
        )
