"""When limits open and end alerts: the rule alone, against every history that can happen."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_tenancy.identifiers import new_id
from mis_tenancy.plans import GIB
from tenant_service.alerts.causes import AlertKind, Changes, Known, Severity
from tenant_service.alerts.incidents import incident_changes, incident_of, many
from tenant_service.alerts.limits import THRESHOLDS, Level, Measure, limit_changes

DAY = date(2026, 11, 25)
# What a tenant uses of which limit, and how many days have passed since the step before.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(Measure),
        st.integers(0, 260),
        st.one_of(st.none(), st.integers(0, 200)),
        st.integers(0, 1),
    ),
    max_size=60,
)


class Book:
    """The alerts as the table would hold them, after each of the changes."""

    def __init__(self) -> None:
        self.rows: list[Known] = []

    def known(self, day: date) -> list[Known]:
        return [row for row in self.rows if not row.has_ended or row.period == day.isoformat()]

    def apply(self, changes: Changes) -> None:
        for alert in changes.ending:
            at = self.rows.index(alert)
            ended = Known(alert.id, alert.kind, alert.subject, alert.threshold, alert.period, has_ended=True)
            self.rows[at] = ended
        for cause in changes.opening:
            row = Known(new_id(), cause.kind, cause.subject, cause.threshold, cause.period, has_ended=False)
            self.rows.append(row)


@given(STEPS)
def test_each_threshold_opens_at_most_once_a_day_and_is_open_only_while_it_is_reached(
    steps: list[tuple[Measure, int, int | None, int]],
) -> None:
    book, day, levels = Book(), DAY, {measure: Level(measure, 0, None) for measure in Measure}
    for measure, used, limit, days in steps:
        day += timedelta(days=days)
        if days and measure is not Measure.API_REQUESTS:
            levels[Measure.API_REQUESTS] = Level(Measure.API_REQUESTS, 0, None)
        levels[measure] = Level(measure, used, limit)
        book.apply(limit_changes(list(levels.values()), book.known(day), day))
        # Looking once more at the same changes nothing.
        assert not limit_changes(list(levels.values()), book.known(day), day)
        periods = [(row.subject, row.threshold, row.period) for row in book.rows]
        assert len(periods) == len(set(periods))
        unresolved = [(row.subject, row.threshold) for row in book.rows if not row.has_ended]
        assert len(unresolved) == len(set(unresolved))
        for level in levels.values():
            for threshold in THRESHOLDS:
                told_today = (level.measure.value, threshold, day.isoformat()) in periods
                is_open = (level.measure.value, threshold) in unresolved
                if threshold in level.reached():
                    assert is_open or told_today
                else:
                    assert not is_open


@pytest.mark.parametrize(
    ("used", "limit", "reached"),
    [
        (79, 100, set()),
        (80, 100, {80}),
        (89, 100, {80}),
        (90, 100, {80, 90}),
        (100, 100, {80, 90, 100}),
        (250, 100, {80, 90, 100}),
        (4, 5, {80}),
        (3, 5, set()),
        (0, 0, set()),
        (1, 0, {80, 90, 100}),
        (10**9, None, set()),
    ],
)
def test_a_threshold_is_reached_exactly(used: int, limit: int | None, reached: set[int]) -> None:
    assert Level(Measure.USERS, used, limit).reached() == reached


def test_the_requests_of_a_new_day_end_yesterdays_alerts_and_may_open_their_own() -> None:
    yesterday = (DAY - timedelta(days=1)).isoformat()
    known = [Known(new_id(), AlertKind.LIMIT, "api_requests", 80, yesterday, has_ended=False)]
    quiet = limit_changes([Level(Measure.API_REQUESTS, 1, 10)], known, DAY)
    assert (list(quiet.ending), list(quiet.opening)) == (known, [])
    busy = limit_changes([Level(Measure.API_REQUESTS, 8, 10)], known, DAY)
    assert list(busy.ending) == known
    assert [(cause.threshold, cause.period) for cause in busy.opening] == [(80, DAY.isoformat())]


def test_an_alert_says_how_much_and_what_to_do() -> None:
    users = Level(Measure.USERS, 80, 100).cause(80, "2026-11-25")
    assert users.message.startswith("80 % of the limit is reached: 80 of 100 users")
    assert users.severity is Severity.INFO
    storage = Level(Measure.STORAGE, 9 * GIB, 10 * GIB).cause(90, "2026-11-25")
    assert "9.0 of 10.0 GiB" in storage.message


def test_an_incident_is_told_once_a_day_and_ends_when_the_day_after_has_passed() -> None:
    opened = incident_changes(["tenant_mismatch"], [], DAY)
    assert [cause.subject for cause in opened.opening] == ["tenant_mismatch"]
    for age, ends in ((0, False), (1, False), (2, True), (9, True)):
        period = (DAY - timedelta(days=age)).isoformat()
        known = [Known(new_id(), AlertKind.SECURITY, "tenant_mismatch", None, period, has_ended=False)]
        quiet = incident_changes([], known, DAY)
        assert bool(quiet.ending) is ends
        again = incident_changes(["tenant_mismatch"], known, DAY)
        assert bool(again.opening) is ends
    ended = [Known(new_id(), AlertKind.SECURITY, "tenant_mismatch", None, DAY.isoformat(), has_ended=True)]
    assert not incident_changes(["tenant_mismatch"], ended, DAY)


def test_an_alert_of_another_period_than_a_day_is_not_ended_by_the_day() -> None:
    known = [Known(new_id(), AlertKind.SECURITY, "isolation.breached", None, None, has_ended=False)]
    assert not incident_changes([], known, DAY)


def test_what_is_unusual_grows_with_the_tenant() -> None:
    assert [many(users) for users in (1, 1_000, 10_000)] == [20, 20, 200]
    assert incident_of("session.refresh_reused").at_once
    assert not incident_of("login.failed").at_once
    assert not incident_of("something.new").at_once
