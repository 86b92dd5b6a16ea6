"""A thousand edits of a sealed log by the one who owns its tables: each is seen, and the row is named."""

# ruff: noqa: S608  # Only names of our own columns and tables are put into the statements.

import random
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from mis_tenancy.identifiers import new_id
from mis_tenancy.seals import SEALED_COLUMNS
from tenant_service.audit_seals.service import Bad, Problem
from tests.servers import TestServers
from tests.suite import Suite
from tests.tenant_service.seals import Log, new_log

BATCHES = (3, 1, 7, 2, 12, 5)
EDITS_OF_ROWS = 800
EDITS_OF_SEALS = 200

_NUMBERS = ("status", "duration_us")
_JSON = ("sources", "changes")
_LOCATOR = "tenant_id = $1 and id = $2"

Edit = Callable[[asyncpg.Connection, "Ground"], Awaitable[Bad | None]]


class Ground:
    """The log under attack, as it was: its rows by seal, and where the dice fall."""

    def __init__(self, log: Log, rows: list[Any], seals: list[Any], dice: random.Random) -> None:
        self.tenant_id = log.tenant_id
        self.seals = seals
        self.dice = dice
        self.rows: dict[int, list[Any]] = {seal["seq"]: [] for seal in seals}
        for row in rows:
            seq = next(seal["seq"] for seal in seals if row["xid"] < seal["horizon"])
            self.rows[seq].append(row)

    def any_row(self, least: int = 1) -> tuple[int, Any]:
        """Return a row and the number of its seal, which covers at least `least` rows."""
        seq = self.dice.choice([seq for seq, rows in self.rows.items() if len(rows) >= least])
        return seq, self.dice.choice(self.rows[seq])


async def alter(hand: asyncpg.Connection, ground: Ground) -> Bad | None:
    seq, row = ground.any_row()
    column = ground.dice.choice([name for name in SEALED_COLUMNS if name != "id"])
    value: Any = f"x{ground.dice.random()}"
    if column in _NUMBERS:
        value = ground.dice.randrange(30_000)
    elif column in _JSON:
        value = ground.dice.choice(['{"size": {}}', "[]", '"x"'])
    elif column == "origin":
        value = ground.dice.randbytes(60)
    elif column == "actor":
        value = new_id()
    elif column == "kind":
        value = "security"
    cast = "::text::jsonb" if column in _JSON else ""
    await hand.execute(
        f"update audit_logs set {column} = $3{cast} where {_LOCATOR}", ground.tenant_id, row["id"], value
    )
    return Bad(Problem.ROW_ALTERED, seq, row["id"])


async def empty(hand: asyncpg.Connection, ground: Ground) -> Bad | None:
    seq, row = ground.any_row()
    column = ground.dice.choice(
        [name for name in SEALED_COLUMNS if row[name] is not None and name not in _FIXED]
    )
    await hand.execute(f"update audit_logs set {column} = null where {_LOCATOR}", ground.tenant_id, row["id"])
    return Bad(Problem.ROW_ALTERED, seq, row["id"])


_FIXED = ("id", "kind", "action", "outcome")


async def delete(hand: asyncpg.Connection, ground: Ground) -> Bad | None:
    seq, row = ground.any_row()
    await hand.execute(f"delete from audit_logs where {_LOCATOR}", ground.tenant_id, row["id"])
    ids = [one["id"] for one in ground.rows[seq]]
    at = ids.index(row["id"])
    return Bad(Problem.ROW_MISSING, seq, ids[at - 1] if at else None)


async def insert(hand: asyncpg.Connection, ground: Ground) -> Bad | None:
    """Copy a row of the past under a new id, at a time and in a transaction of the past."""
    seq, row = ground.any_row()
    planted = new_id(row["id"].int >> 80)
    columns = ", ".join(name for name in SEALED_COLUMNS if name != "id")
    await hand.execute(
        f"insert into audit_logs (tenant_id, id, xid, {columns}) "
        f"select tenant_id, $3, xid, {columns} from audit_logs where {_LOCATOR}",
        ground.tenant_id,
        row["id"],
        planted,
    )
    return Bad(Problem.ROW_ADDED, seq, planted)


async def reorder(hand: asyncpg.Connection, ground: Ground) -> Bad | None:
    """Let two rows change places in time."""
    seq, row = ground.any_row(least=2)
    other = ground.dice.choice([one for one in ground.rows[seq] if one["id"] != row["id"]])
    swap = "update audit_logs set id = $3 where " + _LOCATOR
    spare = new_id(row["id"].int >> 80)
    for old, new in ((row["id"], spare), (other["id"], row["id"]), (spare, other["id"])):
        await hand.execute(swap, ground.tenant_id, old, new)
    return Bad(Problem.ROW_ALTERED, seq, min(row["id"], other["id"]))


async def move(hand: asyncpg.Connection, ground: Ground) -> Bad | None:
    """Move a row under another seal."""
    seq, row = ground.any_row()
    target = ground.dice.choice([one for one in ground.seals if one["seq"] != seq])
    await hand.execute(
        f"update audit_logs set xid = $3 where {_LOCATOR}", ground.tenant_id, row["id"], target["horizon"] - 1
    )
    return None


async def hide(hand: asyncpg.Connection, ground: Ground) -> Bad | None:
    """Give a row a transaction that has not come yet, so that no seal covers it any more."""
    _, row = ground.any_row()
    await hand.execute(f"update audit_logs set xid = $3 where {_LOCATOR}", ground.tenant_id, row["id"], 2**60)
    return None


async def tamper_with_a_seal(hand: asyncpg.Connection, ground: Ground) -> Bad | None:
    seal = ground.dice.choice(ground.seals)
    column, value = ground.dice.choice(
        [
            ("first_id", new_id()),
            ("last_id", new_id()),
            ("count", seal["count"] + 1),
            ("sealed_at", ground.seals[0]["sealed_at"].replace(year=2020)),
            ("pruned", True),
            ("marks", seal["marks"][:-1] + bytes([seal["marks"][-1] ^ 1])),
            ("marks", b""),
            ("link", seal["link"][::-1]),
            ("hash", seal["hash"][::-1]),
            ("key_id", "other"),
            ("seq", seal["seq"] + 1_000),
            ("seq", -seal["seq"]),
        ]
    )
    await hand.execute(
        f"update audit_seals set {column} = $3 where tenant_id = $1 and seq = $2",
        ground.tenant_id,
        seal["seq"],
        value,
    )
    return None


async def delete_a_seal(hand: asyncpg.Connection, ground: Ground) -> Bad | None:
    seal = ground.dice.choice(ground.seals[:-1])
    await hand.execute(
        "delete from audit_seals where tenant_id = $1 and seq = $2", ground.tenant_id, seal["seq"]
    )
    return Bad(Problem.SEAL_MISSING, seal["seq"])


async def shift_a_horizon(hand: asyncpg.Connection, ground: Ground) -> Bad | None:
    seal = ground.dice.choice(ground.seals)
    own = [row["xid"] for row in ground.rows[seal["seq"]]]
    await hand.execute(
        "update audit_seals set horizon = $3 where tenant_id = $1 and seq = $2",
        ground.tenant_id,
        seal["seq"],
        ground.dice.choice([min(own), 0, 2**60]),
    )
    return None


async def swap_seals(hand: asyncpg.Connection, ground: Ground) -> Bad | None:
    one, two = ground.dice.sample(ground.seals, 2)
    for old, new in ((one["seq"], 0), (two["seq"], one["seq"]), (0, two["seq"])):
        await hand.execute(
            "update audit_seals set seq = $3 where tenant_id = $1 and seq = $2", ground.tenant_id, old, new
        )
    return None


ROWS: tuple[Edit, ...] = (alter, alter, empty, delete, insert, reorder, move, hide)
SEALS: tuple[Edit, ...] = (tamper_with_a_seal, tamper_with_a_seal, delete_a_seal, shift_a_horizon, swap_seals)


Kept = dict[str, list[asyncpg.Record]]


async def keep(hand: asyncpg.Connection, tenant_id: UUID) -> Kept:
    return {
        table: await hand.fetch(f"select * from {table} where tenant_id = $1", tenant_id)
        for table in ("audit_logs", "audit_seals")
    }


async def restore(hand: asyncpg.Connection, tenant_id: UUID, kept: Kept) -> None:
    async with hand.transaction():
        for table, rows in kept.items():
            await hand.execute(f"delete from {table} where tenant_id = $1", tenant_id)
            columns = list(rows[0].keys())
            places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
            await hand.executemany(
                f"insert into {table} ({', '.join(columns)}) values ({places})", [tuple(row) for row in rows]
            )


@pytest.mark.parametrize(
    ("edits", "times"), [(ROWS, EDITS_OF_ROWS), (SEALS, EDITS_OF_SEALS)], ids=["rows", "seals"]
)
async def test_every_edit_of_the_past_is_seen_and_named(
    suite: Suite, test_servers: TestServers, edits: tuple[Edit, ...], times: int
) -> None:
    """Catalogue 130."""
    log = await new_log(suite, test_servers, BATCHES)
    assert (await log.verify()).bad is None
    async with log.hand() as hand:
        rows = await hand.fetch("select * from audit_logs where tenant_id = $1 order by id", log.tenant_id)
        ground = Ground(log, rows, await log.seals(), random.Random(20_261_124))  # dice
        kept = await keep(hand, log.tenant_id)
        for number in range(times):
            edit = edits[number % len(edits)]
            expected = await edit(hand, ground)
            found = (await log.verify()).bad
            assert found is not None, (number, edit.__name__)
            assert expected is None or found == expected, (number, edit.__name__)
            await restore(hand, log.tenant_id, kept)
    assert (await log.verify()).bad is None
