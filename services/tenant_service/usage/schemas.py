"""Usage on the wire."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from mis_http.schemas import Moment, ResponseBody


class UsersOut(ResponseBody):
    """Users: how many there are and may be, how many asked anything in the range, how many came net in it."""

    total: int
    active: int
    limit: int | None
    growth: int


class StorageOut(ResponseBody):
    """Stored bytes and files."""

    used_bytes: int
    limit_bytes: int | None
    files: int


class ResponseTimeOut(ResponseBody):
    """Quantiles in milliseconds, within 1/16; null where nothing was measured."""

    p50: float | None
    p95: float | None


class ApiOut(ResponseBody):
    """Requests: `errors` are 5xx, `clientErrors` 4xx, `rejected` 429; `errorRate` is the fraction of 5xx."""

    requests: int
    errors: int
    client_errors: int
    rejected: int
    error_rate: float
    response_time: ResponseTimeOut
    limit_per_day: int | None
    used_today: int


class PointOut(ResponseBody):
    """One hour or day of the series; `users` and `storageBytes` are those at its end."""

    start: Moment
    requests: int
    errors: int
    users: int
    storage_bytes: int


class UsageSummary(ResponseBody):
    """What a tenant used from `from` until before `to`, as known at `asOf`."""

    tenant_id: UUID
    time_range: str | None
    from_: Moment = Field(serialization_alias="from")
    to: Moment
    interval: Literal["hour", "day"]
    as_of: Moment
    users: UsersOut
    storage: StorageOut
    api: ApiOut
    features: dict[str, int]


class UsageOut(UsageSummary):
    """The same, and how it came about: a point for each hour or day."""

    series: list[PointOut]


class AnalysedOut(ResponseBody):
    """Requests of one route or user."""

    requests: int
    errors: int
    client_errors: int
    rejected: int


class RouteOut(AnalysedOut):
    """Requests of one route, "METHOD /template"."""

    route: str
    response_time: ResponseTimeOut


class UserOut(AnalysedOut):
    """Requests of one user, API key or operator inside the tenant."""

    user_id: UUID
    kind: str


class HourOut(ResponseBody):
    """Requests in one UTC hour of the day, over all days of the range."""

    hour: int
    requests: int


class StatusOut(ResponseBody):
    """Answers of one HTTP status; `unknown` where a process died before it answered."""

    status: str
    requests: int


class FeatureOut(ResponseBody):
    """Requests that used one feature of the plan."""

    feature: str
    requests: int


class AnalyticsOut(ResponseBody):
    """Requests of whole UTC days from `from` until before `to`, broken down; only what was asked is there."""

    tenant_id: UUID
    time_range: str | None
    from_: Moment = Field(serialization_alias="from")
    to: Moment
    as_of: Moment
    by_route: list[RouteOut] | None = None
    by_user: list[UserOut] | None = None
    by_hour: list[HourOut] | None = None
    by_status: list[StatusOut] | None = None
    by_feature: list[FeatureOut] | None = None
