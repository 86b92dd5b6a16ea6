"""The usage ledger: totals by day and hour, by route and user of a day, and what the tenant held."""

from typing import Final

from mis_tenancy.usage_tables import (
    UsageCounts,
    UsageDayRow,
    UsageHourRow,
    UsageLevelRow,
    UsageRouteDayRow,
    UsageTotals,
    UsageUserDayRow,
)
from tenant_service.exports.data_types.shape import DataType, DataTypeName, Extract, Field, json_field


def _counts(table: type[UsageCounts]) -> tuple[Field, ...]:
    return (
        Field("requests", table.requests),
        Field("errors", table.errors),
        Field("clientErrors", table.client_errors),
        Field("rejected", table.rejected),
    )


def _totals(table: type[UsageTotals]) -> tuple[Field, ...]:
    return (
        *_counts(table),
        Field("counted", table.counted),
        json_field("latency", table.latency),
        json_field("statuses", table.statuses),
        json_field("features", table.features),
    )


_DAYS: Final = Extract(
    "usage",
    UsageDayRow,
    (UsageDayRow.day,),
    (Field("day", UsageDayRow.day), *_totals(UsageDayRow), json_field("hours", UsageDayRow.hours)),
)
_HOURS: Final = Extract(
    "usage_hours",
    UsageHourRow,
    (UsageHourRow.hour,),
    (Field("hour", UsageHourRow.hour), *_totals(UsageHourRow)),
)
_ROUTES: Final = Extract(
    "usage_routes",
    UsageRouteDayRow,
    (UsageRouteDayRow.day, UsageRouteDayRow.route),
    (
        Field("day", UsageRouteDayRow.day),
        Field("route", UsageRouteDayRow.route),
        *_counts(UsageRouteDayRow),
        json_field("latency", UsageRouteDayRow.latency),
    ),
)
_USERS: Final = Extract(
    "usage_users",
    UsageUserDayRow,
    (UsageUserDayRow.day, UsageUserDayRow.actor),
    (
        Field("day", UsageUserDayRow.day),
        Field("actor", UsageUserDayRow.actor),
        Field("actorKind", UsageUserDayRow.actor_kind),
        *_counts(UsageUserDayRow),
    ),
)
_LEVELS: Final = Extract(
    "usage_levels",
    UsageLevelRow,
    (UsageLevelRow.day,),
    (
        Field("day", UsageLevelRow.day),
        Field("users", UsageLevelRow.users),
        Field("storageBytes", UsageLevelRow.storage_bytes),
        json_field("hours", UsageLevelRow.hours),
    ),
)

USAGE: Final = DataType(DataTypeName.USAGE, (_DAYS, _HOURS, _ROUTES, _USERS, _LEVELS))
