"""What follows from an attempt, by rules alone."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_models.webhooks import DeliveryRow, WebhookRow
from tenant_service.webhooks.attempts import note
from tenant_service.webhooks.schedule import HOPELESS_AFTER, Outcome, pause_after

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
FAILURES = [Outcome(status=500), Outcome(status=302), Outcome(status=404), Outcome(error="timeout")]


def webhook() -> WebhookRow:
    return WebhookRow(status="active", disabled_reason=None, failing_since=None, version=1)


def delivery() -> DeliveryRow:
    return DeliveryRow(status="pending", attempts=0, next_attempt_at=NOW)


def test_the_first_retry_comes_after_five_seconds_and_the_tenth_attempt_after_three_days() -> None:
    """Catalogue 124."""
    for _ in range(200):
        pauses = [pause_after(attempts) for attempts in range(1, 11)]
        assert pauses[9] is None
        known = [pause for pause in pauses if pause is not None]
        assert timedelta(seconds=5) <= known[0] <= timedelta(seconds=5.5)
        assert known == sorted(known)
        assert timedelta(hours=75) < sum(known, timedelta()) < timedelta(hours=83)
        assert sum(known, timedelta()) > HOPELESS_AFTER


def test_pauses_are_spread_so_that_what_failed_together_comes_back_apart() -> None:
    assert len({pause_after(3) for _ in range(50)}) > 40


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_ends_a_delivery_and_clears_its_webhook(status: int) -> None:
    hook, sent = webhook(), delivery()
    hook.failing_since = NOW - timedelta(days=1)
    note(hook, sent, Outcome(status=status), NOW)
    assert (sent.status, sent.attempts, sent.response_status) == ("delivered", 1, status)
    assert sent.next_attempt_at is None
    assert hook.status == "active"
    assert hook.failing_since is None


@pytest.mark.parametrize("outcome", FAILURES, ids=str)
def test_a_failure_is_tried_again_by_the_schedule_until_it_is_over(outcome: Outcome) -> None:
    """Catalogue 124."""
    hook, sent, now = webhook(), delivery(), NOW
    for attempt in range(1, 11):
        note(hook, sent, outcome, now)
        assert (sent.attempts, sent.response_status, sent.error) == (attempt, outcome.status, outcome.error)
        if attempt < 10:
            assert sent.status == "pending"
            assert sent.next_attempt_at is not None
            assert sent.next_attempt_at > now
            now = sent.next_attempt_at
    assert sent.status == "failed"
    assert sent.next_attempt_at is None
    assert (hook.status, hook.disabled_reason, hook.failing_since) == ("disabled", "failing", NOW)
    assert hook.version == 2


def test_a_webhook_to_which_something_got_through_meanwhile_is_not_given_up() -> None:
    hook, sent = webhook(), delivery()
    sent.attempts = 9
    hook.failing_since = NOW - timedelta(hours=1)
    note(hook, sent, Outcome(status=500), NOW)
    assert (sent.status, hook.status) == ("failed", "active")


def test_a_receiver_that_is_gone_is_disabled_at_once() -> None:
    """Catalogue 124."""
    hook, sent = webhook(), delivery()
    note(hook, sent, Outcome(status=410), NOW)
    assert sent.status == "failed"
    assert sent.next_attempt_at is None
    assert (hook.status, hook.disabled_reason) == ("disabled", "gone")


def test_a_webhook_that_was_switched_off_meanwhile_keeps_the_reason_of_whoever_did_it() -> None:
    hook, sent = webhook(), delivery()
    hook.status, hook.disabled_reason = "disabled", "requested"
    note(hook, sent, Outcome(status=410), NOW)
    assert hook.disabled_reason == "requested"


@pytest.mark.parametrize(
    ("status", "said", "pause"),
    [
        (429, "120", timedelta(minutes=2)),
        (503, "0", timedelta(0)),
        (429, " 7 ", timedelta(seconds=7)),
        (503, "Wed, 25 Nov 2026 12:10:00 GMT", timedelta(minutes=10)),
        (503, "Wed, 25 Nov 2026 11:00:00 GMT", timedelta(0)),
        (503, "Wed, 25 Nov 2026 12:10:00", timedelta(minutes=10)),
        (429, "999999999999999999999999", timedelta(days=1)),
        (429, "Sat, 25 Nov 2062 12:10:00 GMT", timedelta(days=1)),
        (429, "soon", None),
        (429, "-5", None),
        (429, "1e3", None),
        (429, "٣", None),
        (429, "", None),
        (429, f"Mon, 01 Jan {10**30} 00:00:00 GMT", None),
        (429, None, None),
        (500, "120", None),
        (200, "120", None),
    ],
)
def test_a_receiver_may_ask_to_be_left_alone(status: int, said: str | None, pause: timedelta | None) -> None:
    """Catalogue 124."""
    assert Outcome(status=status, retry_after=said).asked_pause(NOW) == pause


@given(st.text(max_size=40))
def test_no_retry_after_breaks_anything(said: str) -> None:
    pause = Outcome(status=429, retry_after=said).asked_pause(NOW)
    assert pause is None or timedelta(0) <= pause <= timedelta(days=1)


def test_what_the_receiver_asks_for_prolongs_the_schedule_and_never_shortens_it() -> None:
    """Catalogue 124."""
    for asked, expected in (("3600", 3600.0), ("1", 5.0)):
        hook, sent = webhook(), delivery()
        note(hook, sent, Outcome(status=429, retry_after=asked), NOW)
        assert sent.next_attempt_at is not None
        waits = (sent.next_attempt_at - NOW).total_seconds()
        assert expected <= waits <= expected * 1.1
