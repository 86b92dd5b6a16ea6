"""The ranges of time that usage is asked for, and histograms, against what arithmetic says of them."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_tenancy.errors import ValidationFailed
from mis_tenancy.latency import bounds_of, bucket_of, merged, quantile_ms
from tenant_service.usage.ranges import DAY, HOUR, KEPT, LONGEST, TimeRange, hours_since_1970, read_range

NOW = datetime(2026, 11, 24, 13, 37, 5, 123_456, UTC)
MOMENTS = st.datetimes(
    datetime(2001, 1, 1),  # noqa: DTZ001  # the zone comes from the next line
    datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@given(
    st.integers(1, 400),
    st.sampled_from("hdw"),
    st.datetimes(timezones=st.just(UTC), min_value=datetime(2010, 1, 1)),  # noqa: DTZ001
)
def test_a_called_range_has_its_length_and_ends_with_the_present_hour_or_day(
    count: int, unit: str, now: datetime
) -> None:
    length = count * {"h": HOUR, "d": DAY, "w": 7 * DAY}[unit]
    if now.year > 9990:
        return
    if length > LONGEST:
        with pytest.raises(ValidationFailed):
            read_range(f"{count}{unit}", None, None, now)
        return
    found = read_range(f"{count}{unit}", None, None, now)
    assert found.end - found.start == length
    assert found.start <= now < found.end <= now + (HOUR if unit == "h" else DAY)


@pytest.mark.parametrize(
    ("asked", "start"),
    [
        ("1m", datetime(2026, 10, 25, tzinfo=UTC)),
        ("12m", datetime(2025, 11, 25, tzinfo=UTC)),
        ("13m", datetime(2025, 10, 25, tzinfo=UTC)),
        ("400d", datetime(2025, 10, 21, tzinfo=UTC)),
        ("9600h", NOW.replace(minute=0, second=0, microsecond=0) + HOUR - timedelta(days=400)),
    ],
)
def test_months_are_the_calendars(asked: str, start: datetime) -> None:
    assert read_range(asked, None, None, NOW).start == start


def test_a_month_before_the_end_of_march_is_the_end_of_february() -> None:
    found = read_range("1m", None, None, datetime(2028, 3, 30, 12, tzinfo=UTC))
    assert (found.start, found.end) == (datetime(2028, 2, 29, tzinfo=UTC), datetime(2028, 3, 31, tzinfo=UTC))


@pytest.mark.parametrize(
    "asked",
    ["", "0d", "00h", "d", "30", "30D", "30 d", "-1d", "+1d", "1.5d", "401d", "9601h", "58w", "14m"]  # noqa: RUF005
    + ["99999m", "999999d", "30d\n", "٣d", "30days", "1y"],
)
def test_what_is_no_range_is_refused(asked: str) -> None:
    with pytest.raises(ValidationFailed):
        read_range(asked, None, None, NOW)


@given(MOMENTS, MOMENTS)
def test_a_range_between_moments_covers_them_by_whole_hours_or_is_refused(
    since: datetime, until: datetime
) -> None:
    if since >= until or until - since > LONGEST:
        with pytest.raises(ValidationFailed):
            read_range(None, since, until, NOW)
        return
    found = read_range(None, since, until, until)
    assert found.start <= since < found.start + HOUR
    assert found.end - HOUR < until <= found.end
    for edge in (found.start, found.end):
        assert (edge.minute, edge.second, edge.microsecond, edge.tzinfo) == (0, 0, 0, UTC)
    # Long after, only days are left of it.
    later = read_range(None, since, until, until + KEPT)
    assert (later.start, later.end) == (found.in_whole_days().start, found.in_whole_days().end)
    assert (later.interval, later.hours) == ("day", [])


@given(MOMENTS, st.integers(1, 9600))
def test_points_and_parts_both_cover_the_range_exactly(start: datetime, hours: int) -> None:
    end = start + hours * HOUR
    asked = read_range(None, start, end, end)
    edges = asked.edges()
    assert (edges[0], edges[-1]) == (hours_since_1970(asked.start), hours_since_1970(asked.end))
    step = 1 if asked.interval == "hour" else 24
    assert all(0 < after - before <= step for before, after in pairwise(edges))
    assert all(edge % step == 0 for edge in edges[1:-1])
    parts = sorted([*asked.hours, *([asked.days] if asked.days[0] < asked.days[1] else [])])
    assert (parts[0][0], parts[-1][1]) == (asked.start, asked.end)
    assert all(before[1] == after[0] for before, after in pairwise(parts))
    widened = asked.in_whole_days()
    assert widened.start <= asked.start < widened.start + DAY
    assert widened.end - DAY < asked.end <= widened.end


def test_thirty_days_are_thirty_daily_rows() -> None:
    asked = read_range("30d", None, None, NOW)
    assert asked.hours == []
    assert (asked.days[1] - asked.days[0]).days == 30


@pytest.mark.parametrize(
    ("since", "until", "asked"),
    [
        (NOW, None, "30d"),
        (None, NOW, None),
        (NOW, NOW, None),
        (NOW, NOW - HOUR, None),
        (NOW + DAY, None, None),
        (NOW - LONGEST - HOUR, NOW, None),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), datetime(1, 2, 1, tzinfo=UTC), None),
        (datetime(9999, 12, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC), None),
    ],
)
def test_moments_that_make_no_range_are_refused(
    since: datetime | None, until: datetime | None, asked: str | None
) -> None:
    with pytest.raises(ValidationFailed):
        read_range(asked, since, until, NOW)


def test_a_range_of_two_days_is_shown_by_the_hour() -> None:
    assert read_range("48h", None, None, NOW).interval == "hour"
    assert read_range("49h", None, None, NOW).interval == "day"
    assert len(TimeRange(NOW, NOW + 2 * DAY).edges()) == 48 + 1


@given(st.integers(0, 2**62))
def test_a_duration_lies_in_its_bucket_and_a_bucket_is_narrow(duration: int) -> None:
    low, high = bounds_of(bucket_of(duration))
    assert low <= duration < high
    assert high - low <= max(1, low / 8)


@given(st.lists(st.lists(st.integers(1, 10**9), min_size=1, max_size=40), min_size=1, max_size=6))
def test_a_quantile_of_merged_histograms_is_that_of_all_requests(parts: list[list[int]]) -> None:
    histograms: list[dict[str, int]] = []
    for part in parts:
        one: dict[str, int] = {}
        for duration in part:
            bucket = str(bucket_of(duration))
            one[bucket] = one.get(bucket, 0) + 1
        histograms.append(one)
    everything = sorted(duration for part in parts for duration in part)
    for share in (0.5, 0.95):
        true = everything[max(0, -(-int(share * 100) * len(everything) // 100) - 1)]
        found = quantile_ms(merged(histograms), share)
        assert found is not None
        assert abs(found - true / 1000) <= true / 1000 / 16 + 0.0011


def test_no_requests_have_no_quantile() -> None:
    assert quantile_ms({}, 0.5) is None
