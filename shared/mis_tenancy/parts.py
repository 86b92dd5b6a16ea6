"""How a stream goes into a store that takes it in parts, and what of it is in memory meanwhile."""

from typing import Final

_SMALLEST: Final = 5 * 2**20
# Stores take at most 10,000 parts of one object.
_MOST: Final = 9_000
AT_ONCE: Final = 2


def part_of(expected_bytes: int | None) -> int:
    """Return the bytes of a part, for a stream of that length or of one that nobody knows."""
    return max(_SMALLEST, -(-(expected_bytes or 0) // _MOST))


def memory_of(expected_bytes: int | None) -> int:
    """Return the bytes that such a stream holds at most: parts that are sent, one that fills, one between."""
    return (AT_ONCE + 2) * part_of(expected_bytes)
