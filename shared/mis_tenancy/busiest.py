"""Which tenants are worth a name of their own in metrics: the busiest ones, however many there are.

Each name costs series in every monitoring system for as long as its history is kept, so their number is a
setting. A place that is taken is lost only to somebody far busier: two tenants that are about as busy would
else take turns, and each turn is a new series.
"""

from collections.abc import Hashable, Mapping
from heapq import nlargest
from typing import Final, TypeVar

Name = TypeVar("Name", bound=Hashable)

# How many times as busy as the least busy of the named a newcomer must be to take the place.
_FAR: Final = 2.0


def replaced(
    named: Mapping[Name, float], others: Mapping[Name, float], capacity: int
) -> tuple[list[Name], list[Name]]:
    """Return which of the `named` lose their place and which `others` get one; both map to how busy they are.

    Free places go to the busiest others. Nobody gets a place who was not busy at all.
    """
    newcomers = nlargest(capacity, (one for one in others if others[one] > 0), key=others.__getitem__)
    free = max(0, capacity - len(named))
    taken, waiting = newcomers[:free], newcomers[free:]
    lost = []
    for weakest, newcomer in zip(sorted(named, key=named.__getitem__), waiting, strict=False):
        if others[newcomer] <= _FAR * named[weakest]:
            break
        lost.append(weakest)
        taken.append(newcomer)
    return lost, taken
