"""What an adoption cannot do by itself, or what somebody should know before it is begun: in words.

A concern that `stops` keeps a table from being adopted; the others are for judgement.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mis_cli.adoption.facts import Database, Table

# What comparing these costs under row-level security: no index, as their operators are not leakproof.
_LEAKY_TYPES: Final = ("json", "jsonb", "numeric", "tsvector", "citext")


@dataclass(frozen=True, slots=True)
class Concern:
    """Something about a table or a view."""

    about: str
    text: str
    stops: bool = False


def concerns(database: Database) -> list[Concern]:
    """Return all there is to say."""
    found = [concern for table in database.tables for concern in (*_stops(table), *_remarks(table))]
    return [*found, *_around(database)]


def _stops(table: Table) -> Iterator[Concern]:
    if not table.is_ours:
        give = f"ALTER TABLE {table.sql} OWNER TO mis_owner"
        yield Concern(
            table.name, f"is owned by {table.owner}, so it is left out. {give} and run again.", True
        )
    if table.kind != "r":
        yield Concern(
            table.name,
            "is partitioned, inherits or is foreign, so it is left out: its keys and policies want a design "
            "of their own (docs/migration.md).",
            True,
        )

    if table.foreign_policies:
        yield Concern(
            table.name,
            f"has policies of its own ({', '.join(table.foreign_policies)}), so it is left out: policies add "
            "up, and one that lets more through would undo ours. Drop them first.",
            True,
        )
    if table.columns.get("tenant_id", "uuid") != "uuid":
        yield Concern(
            table.name, f"has a tenant_id of type {table.columns['tenant_id']}. Rename that column.", True
        )


def _remarks(table: Table) -> Iterator[Concern]:
    if table.primary is None:
        yield Concern(table.name, "has no primary key. Give it one: nothing can refer to (tenant_id, id).")
    for name in table.referenced_from:
        yield Concern(
            table.name,
            f"{name} refers to it from a table that is not adopted, so its key stays unique over all "
            "tenants. Adopt that table as well.",
        )
    for key in table.foreign_keys:
        if not key.is_parent_here and key.parent != "public.tenants":
            yield Concern(
                table.name,
                f"{key.name} refers to {key.parent}, which is not adopted: rows of all tenants may share a "
                "parent there. Right for a catalogue that is everybody's, wrong for anything else.",
            )
    for serial in table.serials:
        yield Concern(
            table.name,
            f"{serial.column} is counted over all tenants: its numbers can be guessed, and "
            "tell one tenant how much the others write. Rows stay hidden. Prefer UUIDs for new tables.",
        )
    for trigger in table.triggers:
        yield Concern(
            table.name,
            f"the trigger {trigger} runs as whoever writes, and what it writes needs a tenant_id; on Citus "
            "there can be none.",
        )
    yield from _about_indexes(table)


def _about_indexes(table: Table) -> Iterator[Concern]:
    for index in table.indexes:
        if index.is_unique and not index.has_tenant:
            yield Concern(
                table.name,
                f"{index.name} tells one tenant what another has (a refused value exists somewhere). It is "
                "made unique within the tenant.",
            )
        if index.method != "btree":
            yield Concern(
                table.name,
                f"{index.name} ({index.method}) is kept as it is. Row-level security comes before operators "
                "that are not leakproof, which then use no index: look at the plans of its queries.",
            )
        elif "" in index.columns:
            yield Concern(
                table.name,
                f"{index.name} is over an expression. Functions such as lower() are not leakproof, so the "
                "condition is not looked up in it: store the result in a column of its own.",
            )
    for name in table.exclusions:
        yield Concern(
            table.name, f"the exclusion {name} holds over all tenants. Make it anew with tenant_id."
        )
    for column, kind in table.columns.items():
        if kind in _LEAKY_TYPES and any(column in index.columns for index in table.indexes):
            yield Concern(
                table.name, f"comparing {column} ({kind}) is not leakproof: no index is used for it."
            )


def _around(database: Database) -> Iterator[Concern]:
    for view in database.views:
        fix = {
            "view": f"ALTER VIEW {view.name} SET (security_invoker = true)",
            "materialized view": "Keep it from mis_app; it holds rows of all tenants",
            "function": "Make it SECURITY INVOKER, or keep it from mis_app",
        }[view.kind]
        yield Concern(
            view.name, f"is a {view.kind} with the rights of {view.owner}, who may see all rows. {fix}."
        )
