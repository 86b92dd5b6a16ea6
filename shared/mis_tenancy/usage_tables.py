"""The usage ledger: what each tenant's requests add up to, by hour, day, route and user.

The drain adds to every table in the transaction that inserts the audit rows, so none of them lags or has to
be recomputed when a record arrives late. Columns of counts by name (`latency`, `statuses`, …) are JSON
objects: a whole day is one row, and rows merge by adding.
"""

from datetime import date, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Index, Integer, PrimaryKeyConstraint, text
from sqlalchemy.dialects.postgresql import BIT, JSONB, BitString
from sqlalchemy.orm import Mapped, mapped_column

from mis_tenancy.tables import Base, TenantScoped

Counts = dict[str, int]

# For how many days it is known by the hour what was asked, and by whom: the longest range, and a month more.
KEPT_DAYS: Final = 430


def _counts(comment: str) -> Mapped[Counts]:
    return mapped_column(JSONB, server_default=text("'{}'"), comment=comment)


class UsageCounts:
    """Counts of requests: `errors` 5xx, `client_errors` 4xx, `rejected` by the limiter."""

    requests: Mapped[int] = mapped_column(server_default=text("0"))
    errors: Mapped[int] = mapped_column(server_default=text("0"))
    client_errors: Mapped[int] = mapped_column(server_default=text("0"))
    rejected: Mapped[int] = mapped_column(server_default=text("0"))


class UsageTotals(UsageCounts):
    """All that is counted of a tenant's requests of some time."""

    counted: Mapped[int] = mapped_column(
        server_default=text("0"), comment="requests that used up daily quota"
    )
    latency: Mapped[Counts] = _counts("by bucket of mis_tenancy.latency")
    statuses: Mapped[Counts] = _counts("by HTTP status")
    features: Mapped[Counts] = _counts("by feature of the plan")


class UsageHourRow(UsageTotals, TenantScoped, Base):
    """A tenant's requests of one UTC hour; the limiter's count is re-seeded from here."""

    __tablename__ = "usage_hours"

    hour: Mapped[datetime]

    __table_args__ = (PrimaryKeyConstraint("tenant_id", "hour"),)


class UsageDayRow(UsageTotals, TenantScoped, Base):
    """A tenant's requests of one UTC day, by its midnight."""

    __tablename__ = "usage_days"

    day: Mapped[datetime]
    hours: Mapped[Counts] = _counts("by hour of the day")

    __table_args__ = (PrimaryKeyConstraint("tenant_id", "day"),)


class UsageMonthRow(TenantScoped, Base):
    """The maps of a past UTC month, added up by the worker, so that a year is a dozen of them and not 366.

    It is a copy of the days and may be behind them. As they only grow, it says all that they say exactly when
    its `requests` are as many as theirs.
    """

    __tablename__ = "usage_months"

    month: Mapped[datetime]
    requests: Mapped[int]
    latency: Mapped[Counts] = _counts("by bucket of mis_tenancy.latency")
    features: Mapped[Counts] = _counts("by feature of the plan")

    __table_args__ = (PrimaryKeyConstraint("tenant_id", "month"),)


class UsageRouteDayRow(UsageCounts, TenantScoped, Base):
    """A day's requests of one route, "METHOD /template"."""

    __tablename__ = "usage_route_days"

    day: Mapped[datetime]
    route: Mapped[str]
    latency: Mapped[Counts] = _counts("by bucket of mis_tenancy.latency")

    __table_args__ = (PrimaryKeyConstraint("tenant_id", "day", "route"),)


class UsageUserDayRow(UsageCounts, TenantScoped, Base):
    """A day's requests of one user, key or operator inside the tenant; names of people stay out."""

    __tablename__ = "usage_user_days"

    day: Mapped[datetime]
    actor: Mapped[UUID]
    actor_kind: Mapped[str]
    hours: Mapped[int] = mapped_column(
        Integer, server_default=text("0"), comment="bit n: a request in the hour n of the day"
    )

    __table_args__ = (PrimaryKeyConstraint("tenant_id", "day", "actor"),)


class UsageMemberRow(TenantScoped, Base):
    """The last hour in which a user asked anything: who is active since then is one range of an index."""

    __tablename__ = "usage_members"

    user_id: Mapped[UUID]
    last_hour: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "user_id"),
        Index("ix_usage_members_last_hour", "tenant_id", "last_hour"),
    )


class UsageMemberDaysRow(TenantScoped, Base):
    """The days on which a user asked anything, so that who was active in a range is one row of each user.

    It is the worker's copy of `usage_user_days`, whose rows of a year are hundreds for each user, and may be
    behind it: which days it says all of, `usage_copied_days` tells.
    """

    __tablename__ = "usage_member_days"

    user_id: Mapped[UUID]
    last_day: Mapped[date]
    days: Mapped[BitString] = mapped_column(
        BIT(KEPT_DAYS), comment="bit n, from the left: a request on the nth day before last_day"
    )

    __table_args__ = (PrimaryKeyConstraint("tenant_id", "user_id"),)


class UsageCopiedDayRow(TenantScoped, Base):
    """How many requests a UTC day had when its users were copied; days only grow, so as many are the same."""

    __tablename__ = "usage_copied_days"

    day: Mapped[datetime]
    requests: Mapped[int]

    __table_args__ = (PrimaryKeyConstraint("tenant_id", "day"),)


class UsageLevelRow(TenantScoped, Base):
    """What a tenant held at the end of a UTC day; a day on which nothing changed has no row."""

    __tablename__ = "usage_levels"

    day: Mapped[datetime]
    users: Mapped[int]
    storage_bytes: Mapped[int]
    hours: Mapped[dict[str, list[int]]] = mapped_column(
        JSONB, server_default=text("'{}'"), comment="[users, storage_bytes] at the end of an hour of the day"
    )

    __table_args__ = (PrimaryKeyConstraint("tenant_id", "day"),)
