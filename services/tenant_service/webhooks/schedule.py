"""What follows from an attempt: done, tried again after a while, or given up."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from mis_http.dates import moment_of

# After the first attempt, the second, …: ten attempts over three days and a little.
_PAUSES: Final = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(hours=10),
    timedelta(hours=16),
    timedelta(hours=20),
    timedelta(hours=24),
)
# A webhook to which nothing has got through for so long is disabled when a delivery is given up.
HOPELESS_AFTER: Final = timedelta(days=3)
# So that what failed together does not come back together.
_JITTER: Final = 0.1
_LONGEST_WAIT: Final = timedelta(days=1)
_ASKS_TO_WAIT: Final = frozenset({429, 503})
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: with an answer's `status`, or without one and `error` says why, in a word."""

    status: int | None = None
    error: str | None = None
    retry_after: str | None = None

    @property
    def is_success(self) -> bool:
        """Whether the receiver has accepted the message."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver says that nobody wants messages there any more."""
        return self.status == _GONE

    @property
    def word(self) -> str:
        """How it ended, in one of a few words."""
        if self.status is None:
            return self.error or "failed"
        return "delivered" if self.is_success else "gone" if self.is_gone else "refused"

    def asked_pause(self, now: datetime) -> timedelta | None:
        """Return for how long the receiver asks to be left alone, a day at most (RFC 9110 §10.2.3)."""
        if self.status not in _ASKS_TO_WAIT or self.retry_after is None:
            return None
        text = self.retry_after.strip()
        if text.isascii() and text.isdigit():
            # Longer numbers than these are beyond the longest wait anyway, and beyond a timedelta.
            asked = timedelta(seconds=int(text[:9]))
        else:
            until = moment_of(text)
            if until is None:
                return None
            asked = (until if until.tzinfo else until.replace(tzinfo=UTC)) - now
        return max(timedelta(0), min(asked, _LONGEST_WAIT))


def pause_after(attempts: int) -> timedelta | None:
    """Return how long to wait after that many attempts, with jitter; None when there is no further one."""
    if attempts > len(_PAUSES):
        return None
    return _PAUSES[attempts - 1] * (1 + random.random() * _JITTER)  # noqa: S311  # spreads load, hides nothing
