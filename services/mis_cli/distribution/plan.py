"""What is left to do until a database is distributed: worked out of what the catalogue says.

A plan needs no memory of an earlier run. One that was killed between two steps, or in the middle of one, has
left a catalogue from which the next plan goes on; a new revision's table is simply not yet where it belongs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from sqlalchemy.schema import ForeignKeyConstraint

from mis_cli.distribution.layout import COLUMN, DIRECTORY, key_sql, keys, spread_tables
from mis_cli.distribution.together import FOUNDATION, SCHEMA, tie_sql, tied_names

# What every session on a distributed database has. Without the first the nodes never hear which tenant a
# transaction belongs to, and their policies show no rows. Without the second Citus hides its shards from each
# look into the catalogue, and drivers look there: seconds for each new connection. Without the third the
# directory could not change after many tenants' rows did in the same transaction.
SETTINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "citus.propagate_set_commands": "local",
        "citus.override_table_visibility": "off",
        "citus.multi_shard_modify_mode": "sequential",
    }
)


class Action(StrEnum):
    """What a step does."""

    SET = "set"
    DROP_KEY = "drop_key"
    REPLICATE = "replicate"
    SPREAD = "spread"
    CLEAR = "clear"
    ADD_KEY = "add_key"
    FOUND = "found"
    TIE = "tie"


@dataclass(frozen=True, slots=True)
class Step:
    """One statement, done whole or not at all; `subject` is the table or table.key it is about."""

    action: Action
    subject: str
    sql: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the catalogue says: which tables are on Citus, which keys there are, what was left behind.

    `settings` are what the database gives its sessions, as name=value; `left_behind` are tables whose rows
    still lie on the coordinator as well, where nobody sees them; `tied` are the coordinator's tables whose
    rows commit with those of the nodes, for which there is something where it `is_founded`.
    """

    database: str
    settings: frozenset[str]
    placed: frozenset[str]
    keys: frozenset[tuple[str, str]]
    left_behind: frozenset[str]
    is_founded: bool
    tied: frozenset[str]


def plan(facts: Facts, shards: int) -> list[Step]:
    """Return the steps in their order; none where the database is distributed already."""
    homeless = [str(table.name) for table in spread_tables() if table.name not in facts.placed]
    moving = {*homeless, *({DIRECTORY} - facts.placed)}
    steps = list(_settings(facts))
    dropped = [key for key in keys() if _identity(key) in facts.keys and _ends(key) & moving]
    for key in dropped:
        table, name = _identity(key)
        steps.append(Step(Action.DROP_KEY, f"{table}.{name}", f"alter table {table} drop constraint {name}"))
    if DIRECTORY in moving:
        steps.append(Step(Action.REPLICATE, DIRECTORY, f"select create_reference_table('{DIRECTORY}')"))
    steps += _spreading(homeless, facts, shards)
    # What is copied now stays behind as well; only the rows on the nodes count from then on.
    for table in sorted(facts.left_behind | moving):
        call = f"select truncate_local_data_after_distributing_table('{table}')"
        steps.append(Step(Action.CLEAR, table, call))
    gone = {_identity(key) for key in dropped}
    for key in keys():
        if _identity(key) in gone or _identity(key) not in facts.keys:
            steps.append(Step(Action.ADD_KEY, ".".join(_identity(key)), key_sql(key)))
    return [*steps, *_ties(facts)]


def _ties(facts: Facts) -> Iterator[Step]:
    if not facts.is_founded:
        yield Step(Action.FOUND, SCHEMA, FOUNDATION)
    for table in tied_names():
        if table not in facts.tied:
            yield Step(Action.TIE, table, tie_sql(table))


def _settings(facts: Facts) -> Iterator[Step]:
    for name, value in SETTINGS.items():
        if f"{name}={value}" not in facts.settings:
            yield Step(Action.SET, name, f'alter database "{facts.database}" set {name} to {value}')


def _spreading(homeless: list[str], facts: Facts, shards: int) -> Iterator[Step]:
    anchor = next((table.name for table in spread_tables() if table.name in facts.placed), None)
    for table in homeless:
        where = f"shard_count => {shards}, colocate_with => 'none'"
        if anchor is not None:
            where = f"colocate_with => '{anchor}'"
        call = f"select create_distributed_table('{table}', '{COLUMN}', {where})"
        yield Step(Action.SPREAD, table, call)
        anchor = anchor or table


def _identity(key: ForeignKeyConstraint) -> tuple[str, str]:
    return str(key.table.name), str(key.name)


def _ends(key: ForeignKeyConstraint) -> set[str]:
    return {key.table.name, key.referred_table.name}
