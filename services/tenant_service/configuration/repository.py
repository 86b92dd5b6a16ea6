"""Every statement about configuration; a key's rows are one current and all its versions."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from mis_tenancy.identifiers import new_id
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import ConfigurationRow, ConfigurationVersionRow
from tenant_service.configuration.rules import Word

# How many versions of a key stay to roll back to; what an operator has said stays beyond that.
VERSIONS_KEPT: Final = 200


class Author(Protocol):
    """Who changes configuration; a request's `Caller` is one."""

    @property
    def id(self) -> UUID:
        """The id that versions name the author by."""
        ...

    @property
    def is_operator(self) -> bool:
        """Whether the platform's staff does, whose word bounds members."""
        ...


async def overridden_keys(session: TenantSession) -> list[str]:
    """Return the keys the tenant has values of its own for."""
    return list(await session.scalars(select(ConfigurationRow.config_key)))


async def count_other_keys(session: TenantSession, keys: Iterable[str]) -> int:
    """Return how many keys the tenant has values of its own for, besides `keys`."""
    others = ConfigurationRow.config_key.not_in(sorted(keys))
    return await session.scalar(select(func.count()).select_from(ConfigurationRow).where(others)) or 0


async def overrides(session: TenantSession, keys: Iterable[str]) -> dict[str, ConfigurationRow]:
    """Return the tenant's own rows among `keys`, by key."""
    wanted = select(ConfigurationRow).where(ConfigurationRow.config_key.in_(sorted(keys)))
    return {row.config_key: row for row in await session.scalars(wanted)}


async def override(session: TenantSession, key: str) -> ConfigurationRow | None:
    """Return the tenant's own row of `key`."""
    found: ConfigurationRow | None = await session.scalar(
        select(ConfigurationRow).where(ConfigurationRow.config_key == key)
    )
    return found


async def versions(
    session: TenantSession, key: str, *, limit: int, ascending: bool, after: int | None
) -> Sequence[ConfigurationVersionRow]:
    """Return up to `limit` versions of `key`, past the version `after` in the order asked for."""
    number = ConfigurationVersionRow.version
    statement = select(ConfigurationVersionRow).where(ConfigurationVersionRow.config_key == key)
    if after is not None:
        statement = statement.where(number > after if ascending else number < after)
    order = number.asc() if ascending else number.desc()
    return (await session.scalars(statement.order_by(order).limit(limit))).all()


async def version(session: TenantSession, key: str, number: int) -> ConfigurationVersionRow | None:
    """Return one version of `key`."""
    found: ConfigurationVersionRow | None = await session.scalar(
        select(ConfigurationVersionRow).where(
            ConfigurationVersionRow.config_key == key, ConfigurationVersionRow.version == number
        )
    )
    return found


async def operators_words(session: TenantSession, keys: Iterable[str]) -> dict[str, Word]:
    """Return what an operator has said last of those of `keys` he has spoken of, unless that took it back."""
    version = ConfigurationVersionRow
    last = (
        select(version.config_key, version.config_value, version.created_at, version.deleted)
        .where(version.by_operator, version.config_key.in_(sorted(keys)))
        .ext(distinct_on(version.config_key))
        .order_by(version.config_key, version.version.desc())
    )
    said = await session.execute(last)
    return {key: Word(value, said_at) for key, value, said_at, deleted in said if not deleted}


async def put(
    session: TenantSession, key: str, value: Any, *, is_encrypted: bool, by: Author, now: datetime
) -> ConfigurationRow:
    """Write `value` as the newest version of `key`; the tenant's row must be locked."""
    row = await override(session, key)
    number = await _newest_version(session, key) + 1
    if row is None:
        row = ConfigurationRow(id=new_id(), config_key=key, created_at=now)
        session.add(row)
    row.config_value = value
    row.is_encrypted = is_encrypted
    row.version = number
    row.updated_at = now
    session.add(_version(key, number, value, is_encrypted=is_encrypted, deleted=False, by=by, now=now))
    await _forget_versions(session, key, number - VERSIONS_KEPT)
    return row


async def drop(session: TenantSession, row: ConfigurationRow, *, by: Author, now: datetime) -> None:
    """Remove the tenant's own value; its removal is a version too. The tenant's row must be locked."""
    key = row.config_key
    number = await _newest_version(session, key) + 1
    session.add(_version(key, number, None, is_encrypted=False, deleted=True, by=by, now=now))
    await session.delete(row)


def add_first(session: TenantSession, key: str, value: Any, *, by: Author, now: datetime) -> None:
    """Write `value` as the first version of `key`, for a tenant that is being made."""
    session.add(
        ConfigurationRow(
            id=new_id(),
            config_key=key,
            config_value=value,
            is_encrypted=False,
            version=1,
            created_at=now,
            updated_at=now,
        )
    )
    session.add(_version(key, 1, value, is_encrypted=False, deleted=False, by=by, now=now))


async def _forget_versions(session: TenantSession, key: str, until: int) -> None:
    if until < 1:
        return
    version = ConfigurationVersionRow
    old = delete(version).where(version.config_key == key, version.version <= until)
    await session.execute(old.where(version.by_operator.is_(False)))


async def _newest_version(session: TenantSession, key: str) -> int:
    newest = select(func.max(ConfigurationVersionRow.version)).where(
        ConfigurationVersionRow.config_key == key
    )
    return await session.scalar(newest) or 0


def _version(
    key: str, number: int, value: Any, *, is_encrypted: bool, deleted: bool, by: Author, now: datetime
) -> ConfigurationVersionRow:
    return ConfigurationVersionRow(
        config_key=key,
        version=number,
        config_value=value,
        is_encrypted=is_encrypted,
        deleted=deleted,
        changed_by=by.id,
        by_operator=by.is_operator,
        created_at=now,
    )
