"""How many users were active in a range: the part of its statement that costs the most.

Since the range began is one index's range, of users by their last hour. In a range that is over it is a bit
of each user's for every whole day that was copied; days that were not, or of which the range has only some
hours, are read from the ledger itself, a row for each of their users. So the answer is exact whether or not
the worker has been there, and a year takes no longer than a day.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    CompoundSelect,
    Date,
    DateTime,
    Integer,
    Select,
    and_,
    any_,
    bindparam,
    case,
    except_,
    func,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import BIT

from mis_tenancy.tenant import PrincipalKind
from mis_tenancy.usage_tables import (
    KEPT_DAYS,
    UsageCopiedDayRow,
    UsageDayRow,
    UsageMemberDaysRow,
    UsageMemberRow,
    UsageUserDayRow,
)
from tenant_service.usage.ranges import DAY, HOUR, TimeRange, day_of

# Of the day it begins in and of the one it ends in a range may have only some hours.
_PARTS: Final = 2
# A day that nobody has asked anything on stands for parts that a range does not have.
_NO_PART: Final = (datetime(1970, 1, 1, tzinfo=UTC), 0)

_BITS: Final = BIT(KEPT_DAYS)
_NONE: Final = literal_column(f"b'0'::bit({KEPT_DAYS})", _BITS)
_ALL: Final = literal_column(f"(~ b'0'::bit({KEPT_DAYS}))", _BITS)


def until_now() -> Select[Any]:
    """Return the query for how many users have asked anything since the range began."""
    since = UsageMemberRow.last_hour >= bindparam("start", type_=DateTime(timezone=True))
    return select(func.count()).select_from(UsageMemberRow).where(since)


def then() -> Select[Any]:
    """Return the query for how many users asked anything in a range that is over."""
    copied = select(func.count()).select_from(UsageMemberDaysRow).where(_is_copied())
    others = select(func.count()).select_from(_others().subquery("others"))
    # Postgres comes to a query of its own only where that is asked for; else copies would be read twice.
    is_beside = or_(
        *(bindparam(f"hours_{number}", type_=Integer()) != 0 for number in range(_PARTS)), _behind().exists()
    )
    return select(copied.scalar_subquery() + case((is_beside, others.scalar_subquery()), else_=0))


def values_then(asked: TimeRange) -> dict[str, Any]:
    """Return the parameters of `then`."""
    end = day_of(asked.end)
    first = min(day_of(asked.start + DAY - timedelta(microseconds=1)), end)
    given: dict[str, Any] = {
        "whole_from": first,
        "whole_to": end,
        "whole_first": first.date(),
        "whole_last": (end - DAY).date(),
        "whole_days": (end - first).days,
    }
    for number, (day, hours) in enumerate(_parts(asked, first, end)):
        given |= {f"part_{number}": day, f"hours_{number}": hours}
    return given


def _parts(asked: TimeRange, first: datetime, end: datetime) -> list[tuple[datetime, int]]:
    """Return the days of which only some hours are in the range, with these; bit n is the hour n."""
    wanted: dict[datetime, int] = {}
    moment = asked.start
    while moment < asked.end:
        if first <= moment < end:
            moment = end
        else:
            day = day_of(moment)
            wanted[day] = wanted.get(day, 0) | 1 << moment.hour
            moment += HOUR
    return [*wanted.items(), *[_NO_PART] * _PARTS][:_PARTS]


def _is_copied() -> ColumnElement[bool]:
    """Return whether a user's copy has one of the range's whole days."""
    row = UsageMemberDaysRow
    last, count = bindparam("whole_last", type_=Date()), bindparam("whole_days", type_=Integer())
    # Counted from the range's last day, its days are the first bits. A user whose own last day is among them
    # needs no look at the others.
    from_last = row.days.bitwise_lshift(row.last_day - last)
    # Worked out once and not for each user, as it stands in a query of its own.
    wanted = select(_ALL.bitwise_lshift(KEPT_DAYS - count)).scalar_subquery()
    return and_(
        count > 0,
        row.last_day >= bindparam("whole_first", type_=Date()),
        or_(row.last_day <= last, from_last.bitwise_and(wanted) != _NONE),
    )


def _others() -> CompoundSelect[Any]:
    """Return the query for those of whom only the ledger's own rows tell."""
    row = UsageUserDayRow
    members = select(row.actor).where(row.actor_kind == PrincipalKind.MEMBER.value)
    parts = [
        members.where(
            row.day == bindparam(f"part_{number}", type_=DateTime(timezone=True)),
            row.hours.bitwise_and(bindparam(f"hours_{number}", type_=Integer())) != 0,
        )
        for number in range(_PARTS)
    ]
    behind = func.array(_behind().scalar_subquery(), type_=ARRAY(DateTime(timezone=True)))
    # A scan for each, as a common one might go through all days there are.
    seen = union_all(members.where(row.day == any_(behind)), *parts).subquery("seen")
    # Taken off as a whole and not asked for one by one, which Citus would have to do from node to node.
    return except_(select(seen.c.actor), select(UsageMemberDaysRow.user_id).where(_is_copied()))


def _behind() -> Select[Any]:
    """Return the query for the whole days that were not copied, or have had more requests since."""
    day, copied = UsageDayRow, UsageCopiedDayRow
    first, end = (bindparam(name, type_=DateTime(timezone=True)) for name in ("whole_from", "whole_to"))
    return (
        select(day.day)
        .outerjoin(copied, and_(copied.tenant_id == day.tenant_id, copied.day == day.day))
        .where(day.day >= first, day.day < end, copied.requests.is_distinct_from(day.requests))
    )
