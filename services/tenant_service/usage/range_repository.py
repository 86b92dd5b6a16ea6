"""The statement that reads a range of usage: all that an answer tells, at one moment and on one way.

There are two, made once, because making one takes longer than running it; what differs between ranges are
parameters, and a part that a range does not have is an empty span. A year is hundreds of rows, each of which
costs something on its way: so the rows of a table come as arrays of its columns, and moments in them as hours
since 1970.
"""

from collections.abc import Collection
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Date,
    DateTime,
    Integer,
    Select,
    Subquery,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)

from mis_models.accounts import CountersRow
from mis_tenancy.tables import TenantRow
from mis_tenancy.usage_tables import UsageDayRow, UsageHourRow, UsageLevelRow, UsageMonthRow
from tenant_service.usage import active_repository as active_users
from tenant_service.usage.ranges import TimeRange, day_of, month_after

# How many columns the arrays of days, hours, months and levels are.
WIDTHS: Final = (7, 7, 4, 4)


def reading(asked: TimeRange, now: datetime) -> Select[Any]:
    """Return the statement: what the tenant holds, the arrays of WIDTHS, and the level before the range."""
    return _UNTIL_NOW if asked.end > now else _ENDED


def values(tenant_id: UUID, asked: TimeRange, now: datetime) -> dict[str, Any]:
    """Return the statement's parameters."""
    nothing = (asked.start, asked.start)
    first, last = (*asked.hours, nothing, nothing)[:2]
    given: dict[str, Any] = {
        "tenant": tenant_id,
        "today": day_of(now),
        "start": asked.start,
        "is_by_hour": asked.interval == "hour",
        "end_day": day_of(asked.end),
    }
    for name, span in (
        ("levels", (day_of(asked.start), asked.end)),
        ("days", asked.days),
        ("first", first),
        ("last", last),
        ("months", asked.whole_months(now)),
    ):
        given[f"{name}_from"], given[f"{name}_to"] = span
    return given if asked.end > now else given | active_users.values_then(asked)


def days_of(months: Collection[datetime]) -> Select[Any]:
    """Return the query for the maps of each day of the months that begin at `months`."""
    spans = [and_(UsageDayRow.day >= month, UsageDayRow.day < month_after(month)) for month in months]
    return select(*_maps(UsageDayRow)).where(or_(*spans))


def _moment(name: str) -> BindParameter[datetime]:
    return bindparam(name, type_=DateTime(timezone=True))


def _within(column: Any, name: str) -> ColumnElement[bool]:
    return and_(column >= _moment(f"{name}_from"), column < _moment(f"{name}_to"))


def _hour_of_day(day: Any) -> ColumnElement[Any]:
    """Return the hour that a UTC day begins with; by dates, as numbers of seconds take Postgres longer."""
    return (cast(func.timezone("UTC", day), Date) - literal(date(1970, 1, 1))) * 24


def _maps(row: Any) -> list[ColumnElement[Any]]:
    return [cast(row.latency, Text), cast(row.features, Text)]


def _counts(row: Any) -> list[Any]:
    return [row.requests, row.errors, row.client_errors, row.rejected]


def _arrays(name: str, *columns: Any) -> Select[Any]:
    return select(*(func.array_agg(one).label(f"{name}_{at}") for at, one in enumerate(columns)))


def _days() -> Subquery:
    row = UsageDayRow
    # The maps of a month stand in for those of its days.
    over = _within(row.day, "months")
    loose = [case((over, null()), else_=one) for one in _maps(row)]
    columns = (_hour_of_day(row.day), *_counts(row), *loose)
    return _arrays("day", *columns).where(_within(row.day, "days")).subquery("in_days")


def _hours() -> Subquery:
    row = UsageHourRow
    start = cast(func.extract("epoch", row.hour) / 3600, Integer).label("hour")
    columns = (start, *_counts(row), *(one.label(f"map_{at}") for at, one in enumerate(_maps(row))))
    # One scan for each span, as either would not narrow the other's.
    rows = union_all(*(select(*columns).where(_within(row.hour, span)) for span in ("first", "last")))
    return _arrays("hour", *rows.subquery("of_spans").c).subquery("in_hours")


def _months() -> Subquery:
    row = UsageMonthRow
    columns = (_hour_of_day(row.month), row.requests, *_maps(row))
    return _arrays("month", *columns).where(_within(row.month, "months")).subquery("in_months")


def _levels() -> Subquery:
    """Return the levels noted in the range: by the hour on days of which it has a part, else by the day."""
    row = UsageLevelRow
    is_part = or_(
        bindparam("is_by_hour", type_=Boolean()),
        row.day == _moment("levels_from"),
        row.day == _moment("end_day"),
    )
    columns = (_hour_of_day(row.day), row.users, row.storage_bytes, case((is_part, cast(row.hours, Text))))
    return _arrays("level", *columns).where(_within(row.day, "levels")).subquery("in_levels")


def _level_before() -> Subquery:
    row = UsageLevelRow
    last = select(_hour_of_day(row.day).label("start"), row.users, row.storage_bytes)
    before = row.day < _moment("levels_from")
    return last.where(before).order_by(row.day.desc()).limit(1).subquery("level_before")


def _statement(active: Select[Any]) -> Select[Any]:
    arrays = (_days(), _hours(), _months(), _levels())
    before = _level_before()
    today = and_(UsageDayRow.tenant_id == TenantRow.id, UsageDayRow.day == _moment("today"))
    asked = (
        select(
            TenantRow.created_at,
            CountersRow.users,
            CountersRow.storage_bytes,
            CountersRow.files,
            func.coalesce(UsageDayRow.counted, 0),
            active.scalar_subquery(),
            *(column for one in arrays for column in one.c),
            *before.c,
        )
        .join(CountersRow, CountersRow.tenant_id == TenantRow.id)
        .outerjoin(UsageDayRow, today)
        .outerjoin(before, true())
        .where(TenantRow.id == bindparam("tenant", type_=Uuid()))
    )
    for one in arrays:
        asked = asked.join(one, true())
    return asked


_UNTIL_NOW: Final = _statement(active_users.until_now())
_ENDED: Final = _statement(active_users.then())
