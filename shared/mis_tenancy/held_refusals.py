"""Refusals that still hold, so that a flood asks Redis once for each request that may pass, not for each.

What Redis has refused it refuses again until the time it named has come: a refused request changes nothing,
and whatever other processes admit only adds to what is owed. That is so under the same limits and in the same
run of the server only, which are a refusal's terms. Time counts from before Redis was asked, so that a
refusal ends here a little earlier than there, and never later.
"""

import time
from collections.abc import Callable, Hashable
from typing import Final

from mis_tenancy.tenant import Allowance

# Seconds. A spent day is asked about anew so often, because Redis can have lost its count meanwhile.
LONGEST: Final = 1.0
TABLE_SIZE: Final = 10_000


class HeldRefusals:
    """Remembers refusals by key, each under its terms; `clock` is in seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, size: int = TABLE_SIZE) -> None:
        self.clock = clock
        self._size = size
        self._held: dict[Hashable, tuple[float, Hashable, Allowance]] = {}

    def __len__(self) -> int:
        """Return how many are remembered, ended ones included."""
        return len(self._held)

    def again(self, key: Hashable, terms: Hashable) -> Allowance | None:
        """Return what Redis would say once more, if that is known; its times are up to LONGEST too long."""
        held = self._held.get(key)
        if held is None:
            return None
        until, under, allowance = held
        if self.clock() < until and under == terms:
            return allowance
        del self._held[key]
        return None

    def note(self, key: Hashable, terms: Hashable, asked_at: float, allowance: Allowance) -> None:
        """Remember what Redis was asked for at `asked_at` of the clock, if it is a refusal."""
        if allowance.admitted:
            return
        if len(self._held) >= self._size:
            # Whoever is forgotten costs one question more.
            self._held.clear()
        self._held[key] = asked_at + min(allowance.retry_after, LONGEST), terms, allowance
