"""What a tenant held at any moment: what was noted then, and since the last note what it holds now."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tenant_service.usage.repository import Level

_NOTHING: Final = Level(0, 0, 0)


@dataclass(frozen=True, slots=True)
class History:
    """The levels that were noted, oldest first, and the `present` one; times are hours since 1970.

    The tenant was made in the hour `created`.
    """

    levels: Sequence[Level]
    present: Level
    created: int

    def before(self, moments: Iterable[int]) -> Iterator[Level]:
        """Yield the level that held just before each of `moments`, which grow."""
        present, created = self.present, self.created
        # A tenant older than its first note held then, as far as is known, what that note says.
        upcoming = iter(self.levels)
        held = following = next(upcoming, present)
        for moment in moments:
            while following.start < moment and following is not present:
                held, following = following, next(upcoming, present)
            if moment > present.start:
                yield present
            elif moment <= created:
                yield _NOTHING
            else:
                yield held
