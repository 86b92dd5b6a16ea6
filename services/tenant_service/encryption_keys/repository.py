"""Every statement about data keys, and about what is kept under them.

A holder is a table with ciphertext under the tenant's data keys. Each such table has to stand in HOLDERS,
because a key is destroyed once nothing in them needs it; a test compares the list with the models.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_, update
from sqlalchemy.orm import InstrumentedAttribute

from mis_accounts.picture_keys import PictureKeys
from mis_accounts.totp_secrets import TotpSecrets
from mis_http.kept_answers import KeyOfRequest, TenantAnswers
from mis_models.factors import TotpFactorRow
from mis_models.tenants import IdempotencyRow
from mis_models.verifications import VerificationRow
from mis_models.webhooks import WebhookRow
from mis_tenancy.encryption import TenantKeys, Undecryptable
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import (
    ConfigurationRow,
    ConfigurationVersionRow,
    DataKeyRow,
    TenantScoped,
)
from tenant_service.configuration.errors import ConfigUndecryptable
from tenant_service.configuration.secrets import Secrets
from tenant_service.webhooks.secrets import WebhookSecrets

_log = structlog.get_logger(__name__)

_ROWS_AT_ONCE: Final = 200
_VERSION_BYTES: Final = 4

Cursor = tuple[Any, ...]


async def versions(
    session: TenantSession, *, limit: int, ascending: bool, after: int | None
) -> Sequence[DataKeyRow]:
    """Return up to `limit` versions past `after` in the order asked for."""
    statement = select(DataKeyRow)
    if after is not None:
        statement = statement.where(DataKeyRow.version > after if ascending else DataKeyRow.version < after)
    order = DataKeyRow.version.asc() if ascending else DataKeyRow.version.desc()
    return (await session.scalars(statement.order_by(order).limit(limit))).all()


async def newest_version(session: TenantSession) -> int:
    """Return the number of the tenant's current key, 0 where there is none."""
    return await session.scalar(select(func.max(DataKeyRow.version))) or 0


async def has_older(session: TenantSession, newest: int) -> bool:
    """Return whether a key before `newest` has not been retired."""
    return await session.scalar(select(DataKeyRow.version).where(*_older(newest)).limit(1)) is not None


async def hold_older(session: TenantSession, newest: int) -> list[int]:
    """Return the versions before `newest` that are left, once nobody is about to commit something under them.

    Whoever encrypts shares a lock on the key's row until its commit (`TenantKeys.current`), which this one
    excludes.
    """
    held = select(DataKeyRow.version).where(*_older(newest)).order_by(DataKeyRow.version).with_for_update()
    return list(await session.scalars(held))


async def retire_older(session: TenantSession, newest: int, now: datetime) -> None:
    """Destroy the keys before `newest`; their numbers stay."""
    await session.execute(update(DataKeyRow).where(*_older(newest)).values(wrapped_key=b"", retired_at=now))


def _older(newest: int) -> list[ColumnElement[bool]]:
    return [DataKeyRow.version < newest, DataKeyRow.retired_at.is_(None)]


@dataclass(frozen=True, slots=True)
class Holder:
    """A table with ciphertext: `is_older` finds rows that are not under a version yet, `renew` renews one."""

    table: type[TenantScoped]
    is_older: Callable[[int], ColumnElement[bool]]
    renew: Callable[[TenantSession, TenantKeys, Any], Awaitable[None]]

    async def renew_some(
        self, session: TenantSession, keys: TenantKeys, newest: int, after: Cursor | None
    ) -> Cursor | None:
        """Re-encrypt some rows past `after`, and return where to go on, or None at the end.

        What does not decrypt is left as it is, since no key of the tenant opens it.
        """
        order = [column for column in self.table.__table__.primary_key if column.name != "tenant_id"]  # type: ignore[attr-defined]
        names = [column.name for column in order]
        key = [getattr(self.table, name) for name in names]
        found = select(self.table).where(self.is_older(newest)).order_by(*key).limit(_ROWS_AT_ONCE)
        if after is not None:
            found = found.where(tuple_(*key) > tuple_(*after))
        rows = (await session.scalars(found.with_for_update())).all()
        for row in rows:
            try:
                await self.renew(session, keys, row)
            except (Undecryptable, ConfigUndecryptable):
                _log.warning("keys.left_undecryptable", table=self.table.__name__, tenant=str(row.tenant_id))
        if len(rows) < _ROWS_AT_ONCE:
            return None
        return tuple(getattr(rows[-1], name) for name in names)


async def _renew_secret(session: TenantSession, keys: TenantKeys, row: Any) -> None:
    secrets = Secrets(session, keys)
    row.config_value = await secrets.seal(
        row.config_key, await secrets.open(row.config_key, row.config_value)
    )


async def _renew_answer(session: TenantSession, keys: TenantKeys, row: IdempotencyRow) -> None:
    answers = TenantAnswers(keys)
    request = KeyOfRequest(row.principal_id, row.method, row.path, row.key, row.fingerprint)
    row.answer = await answers.seal(session, request, await answers.open(session, request, row.answer or b""))


async def _renew_signing_secrets(session: TenantSession, keys: TenantKeys, row: WebhookRow) -> None:
    secrets = WebhookSecrets(session, keys)
    row.secret = await secrets.seal(row.id, await secrets.open(row.id, row.secret))
    if row.previous_secret is not None:
        row.previous_secret = await secrets.seal(row.id, await secrets.open(row.id, row.previous_secret))


async def _renew_totp_secret(session: TenantSession, keys: TenantKeys, row: TotpFactorRow) -> None:
    secrets = TotpSecrets(session, keys)
    row.secret = await secrets.seal(row.user_id, await secrets.open(row.user_id, row.secret))


async def _renew_picture_key(session: TenantSession, keys: TenantKeys, row: VerificationRow) -> None:
    pictures = PictureKeys(session, keys)
    row.image_key = await pictures.seal(row.id, await pictures.open(row.id, row.image_key or b""))


def _older_secret(
    table: type[ConfigurationRow] | type[ConfigurationVersionRow],
) -> Callable[[int], ColumnElement[bool]]:
    # Compared as text, so that a damaged number fails no statement.
    return lambda newest: and_(
        table.is_encrypted, table.config_value["keyVersion"].as_string().is_distinct_from(str(newest))
    )


def _older_answer(newest: int) -> ColumnElement[bool]:
    return _is_older(IdempotencyRow.answer, newest)


def _older_signing_secret(newest: int) -> ColumnElement[bool]:
    return or_(_is_older(WebhookRow.secret, newest), _is_older(WebhookRow.previous_secret, newest))


def _older_totp_secret(newest: int) -> ColumnElement[bool]:
    return _is_older(TotpFactorRow.secret, newest)


def _older_picture_key(newest: int) -> ColumnElement[bool]:
    return _is_older(VerificationRow.image_key, newest)


def _is_older(ciphertext: InstrumentedAttribute[Any], newest: int) -> ColumnElement[bool]:
    return func.substring(ciphertext, 1, _VERSION_BYTES) < newest.to_bytes(_VERSION_BYTES, "big")


HOLDERS: Final = (
    Holder(ConfigurationRow, _older_secret(ConfigurationRow), _renew_secret),
    Holder(ConfigurationVersionRow, _older_secret(ConfigurationVersionRow), _renew_secret),
    Holder(IdempotencyRow, _older_answer, _renew_answer),
    Holder(WebhookRow, _older_signing_secret, _renew_signing_secrets),
    Holder(TotpFactorRow, _older_totp_secret, _renew_totp_secret),
    Holder(VerificationRow, _older_picture_key, _renew_picture_key),
)
