"""Brings everything that a master key wraps or signs under the current one, without opening what is inside.

Each row is exchanged only if it is still what was read, and rows under the current key are not looked for: so
this runs beside live services, and goes on where it was stopped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import msgspec

from auth_service.operator_mfa.secrets import purpose_of as purpose_of_factor
from auth_service.signing_keys.service import purpose_of
from mis_http.kept_answers import KeyOfRequest, PlatformAnswers
from mis_tenancy.encryption import Undecryptable, Wrapping, data_key_purpose
from mis_tenancy.origins.actor_keys import actor_key_purpose
from mis_tenancy.seals import SealHead, SealKeys
from mis_tenancy.settings import MasterKeys

_ROWS_AT_ONCE: Final = 500

Renew = Callable[["Keys", Any], Sequence[Any] | None]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Keys:
    """What the master keys can do."""

    wrapping: Wrapping
    seals: SealKeys
    current_id: str

    @classmethod
    def of(cls, master_keys: MasterKeys) -> "Keys":
        """Return the use of `master_keys`."""
        return cls(Wrapping(master_keys), SealKeys(master_keys), master_keys.current_id)


@dataclass(frozen=True, slots=True)
class Store:
    """A table whose `values` depend on a master key.

    `older` is the condition on rows under another key than `mark($1)`; `renew` returns a row's new values, or
    None where no key at hand fits the old ones.
    """

    table: str
    key: tuple[str, ...]
    values: tuple[str, ...]
    older: str
    mark: Callable[[str], Any]
    renew: Renew

    @property
    def key_column(self) -> str | None:
        """The column that names a row's master key, None where the value itself does."""
        return next((name for name in self.values if name.endswith("key_id")), None)

    def page(self) -> str:
        """Return the statement for the rows past a key."""
        order = ", ".join(self.key)
        places = ", ".join(f"${number}" for number in range(3, 3 + len(self.key)))
        past = f"($2 or ({order}) > ({places}))"
        rows = f"{self.table} where {self.older} and {past} order by {order} limit {_ROWS_AT_ONCE}"
        return f"select * from {rows}"  # noqa: S608  # names of STORES

    def exchange(self) -> str:
        """Return the statement that gives a row its new values, if the first of the old ones still stands."""
        columns = (*self.values, *self.key, self.values[0])
        parts = [f"{column} = ${number}" for number, column in enumerate(columns, 1)]
        changed = ", ".join(parts[: len(self.values)])
        same = " and ".join(parts[len(self.values) :])
        return f"update {self.table} set {changed} where {same}"  # noqa: S608  # names of STORES


@dataclass(frozen=True, slots=True)
class Tally:
    """How many rows of a table were brought under the current key, and how many no key at hand fits."""

    renewed: int
    refused: int


async def rotate(url: str, master_keys: MasterKeys, progress: Progress) -> dict[str, Tally]:
    """Renew every store as the tables' owner; `progress` hears a table, its rows and how many are done."""
    keys = Keys.of(master_keys)
    connection = await asyncpg.connect(url)
    try:
        return {store.table: await _renew(connection, store, keys, progress) for store in STORES}
    finally:
        await connection.close()


async def _renew(connection: Any, store: Store, keys: Keys, progress: Progress) -> Tally:
    mark = store.mark(keys.current_id)
    counting = f"select count(*) from {store.table} where {store.older}"  # noqa: S608  # names of STORES
    total = await connection.fetchval(counting, mark)
    progress(store.table, total, 0)
    renewed = refused = 0
    after: tuple[Any, ...] | None = None
    while rows := await connection.fetch(store.page(), mark, after is None, *(after or _nothing(store))):
        changes = [(row, store.renew(keys, row)) for row in rows]
        fitting = [(row, values) for row, values in changes if values is not None]
        await connection.executemany(
            store.exchange(),
            [(*values, *(row[name] for name in store.key), row[store.values[0]]) for row, values in fitting],
        )
        renewed += len(fitting)
        refused += len(rows) - len(fitting)
        progress(store.table, total, renewed + refused)
        after = tuple(rows[-1][name] for name in store.key)
    return Tally(renewed, refused)


def _nothing(store: Store) -> tuple[None, ...]:
    return (None,) * len(store.key)


def _rewrapped(keys: Keys, row: Any, purpose: str) -> Sequence[Any] | None:
    try:
        return keys.wrapping.rewrap(row["wrapped_key"], row["master_key_id"], purpose)
    except Undecryptable:
        return None


def _data_key(keys: Keys, row: Any) -> Sequence[Any] | None:
    return _rewrapped(keys, row, data_key_purpose(row["tenant_id"], row["version"]))


def _actor_key(keys: Keys, row: Any) -> Sequence[Any] | None:
    return _rewrapped(keys, row, actor_key_purpose(row["tenant_id"], row["id"]))


def _signing_key(keys: Keys, row: Any) -> Sequence[Any] | None:
    return _rewrapped(keys, row, purpose_of(row["kid"]))


def _operators_secret(keys: Keys, row: Any) -> Sequence[Any] | None:
    try:
        return keys.wrapping.rewrap(row["totp_secret"], row["totp_key_id"], purpose_of_factor(row["id"]))
    except Undecryptable:
        return None


def _answer(keys: Keys, row: Any) -> Sequence[Any] | None:
    names = ("principal_id", "method", "path", "key", "fingerprint")
    try:
        return (
            PlatformAnswers(keys.wrapping).rewrapped(KeyOfRequest(*(row[n] for n in names)), row["answer"]),
        )
    except (Undecryptable, msgspec.DecodeError):
        return None


def _seal(keys: Keys, row: Any) -> Sequence[Any] | None:
    """Sign a seal anew; one that its old key did not sign stays as it is, and shows."""
    names = ("tenant_id", "seq", "count", "first_id", "last_id", "sealed_at")
    head = SealHead(*(row[name] for name in names))
    if not keys.seals.signed(row["key_id"], head, row["link"], row["hash"], pruned=row["pruned"]):
        return None
    return keys.seals.sign(head, row["link"], pruned=row["pruned"]), keys.current_id


_WRAPPED: Final = ("wrapped_key", "master_key_id")
STORES: Final = (
    Store(
        "tenant_data_keys",
        ("tenant_id", "version"),
        _WRAPPED,
        "master_key_id <> $1 and retired_at is null",
        str,
        _data_key,
    ),
    Store(
        "audit_actor_keys",
        ("tenant_id", "id"),
        _WRAPPED,
        "master_key_id <> $1 and erased_at is null",
        str,
        _actor_key,
    ),
    Store("signing_keys", ("kid",), _WRAPPED, "master_key_id <> $1", str, _signing_key),
    Store("operators", ("id",), ("totp_secret", "totp_key_id"), "totp_key_id <> $1", str, _operators_secret),
    Store(
        "platform_idempotency_keys",
        ("principal_id", "method", "path", "key"),
        ("answer",),
        "substring(answer from 1 for length($1::bytea)) <> $1",
        PlatformAnswers.mark_of,
        _answer,
    ),
    Store("audit_seals", ("tenant_id", "seq"), ("hash", "key_id"), "key_id <> $1", str, _seal),
)
