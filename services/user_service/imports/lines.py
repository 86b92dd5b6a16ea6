"""The lines of a file that may be of any length, in pieces of bounded size, without a byte order mark."""

from collections.abc import Iterator
from typing import IO, Final

LONGEST: Final = 2**18
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def pieces_of(file: IO[bytes]) -> Iterator[bytes]:
    """Yield each line, with its end; of one that is longer than LONGEST, a piece of that size each time."""
    file.seek(0)
    if file.read(len(_BYTE_ORDER_MARK)) != _BYTE_ORDER_MARK:
        file.seek(0)
    while piece := file.readline(LONGEST):
        yield piece


def is_cut(piece: bytes) -> bool:
    """Return whether the piece is not the end of its line."""
    return len(piece) == LONGEST and not piece.endswith(b"\n")
