"""Cells that no spreadsheet runs: what begins like a formula gets an apostrophe in front (ASVS 5, 1.2.10).

The apostrophe can be taken away again without a doubt: a cell that begins with apostrophes and then like a
formula gets one more, so `restored` undoes `neutral` whatever the text.
"""

import re
from typing import Final

# Almost every cell is told harmless by its first character alone.
_SUSPECT: Final = frozenset("'=+-@\t\r\x00")
_RUN: Final = re.compile(r"'*[=+\-@\t\r\x00]")
_NEUTRALISED: Final = re.compile(r"'+[=+\-@\t\r\x00]")


def neutral(cell: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in _SUSPECT and _RUN.match(cell) else cell


def restored(cell: str) -> str:
    """Return the text that `neutral` made `cell` of."""
    return cell[1:] if _NEUTRALISED.match(cell) else cell
