"""What a tenant held at any moment: what was noted then, and since the last note what it holds now."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tenant_service.usage.repository import Holding, Level


@dataclass(frozen=True, slots=True)
class History:
    """The levels that were noted, oldest first, and what the tenant holds `now`."""

    levels: Sequence[Level]
    holding: Holding
    now: datetime

    def before(self, moments: Iterable[datetime]) -> Iterator[Level]:
        """Yield the level that held just before each of `moments`, which grow."""
        now, created_at = self.now, self.holding.created_at
        present = Level(now, self.holding.users, self.holding.storage_bytes)
        # A tenant older than its first note held then, as far as is known, what that note says.
        upcoming = iter(self.levels)
        held = following = next(upcoming, present)
        for moment in moments:
            while following.start < moment and following is not present:
                held, following = following, next(upcoming, present)
            if moment > now:
                yield present
            elif moment <= created_at:
                yield Level(moment, 0, 0)
            else:
                yield held
