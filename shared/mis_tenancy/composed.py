"""Text of strangers in Unicode's composed form (NFC, UAX #15), in a time that they cannot stretch.

Marks that follow one another are put in order, which takes time by the square of their number: a body of a
megabyte of them would keep a process from everybody else for minutes. So what is too long in any form is cut
before it is composed.
"""

import unicodedata
from typing import Final

# No character of the composed form stands for more than four of another form (UAX #15 §9).
_MOST_IN_ONE: Final = 4


def composed(text: str, longest: int) -> str:
    """Return `text` in NFC if that has at most `longest` characters; else a beginning that has more."""
    return unicodedata.normalize("NFC", text[: _MOST_IN_ONE * (longest + 1)])
