"""Where a browser may be sent after signing in: to a path of the very same origin, and nowhere else."""

import re
from typing import Final

# One slash, then anything printable in ASCII but a backslash, which browsers take for a slash. Control
# characters are out because browsers drop some of them, and read `/\t/evil` as another host's address.
_PATH: Final = re.compile(r"/(?!/)[!-\[\]-~]*")
_LONGEST: Final = 2_000


def safe_path(text: str | None) -> str | None:
    """Return `text` if it is an absolute path, with query and fragment at most; else None.

    Paths with an empty segment are refused too: what joins or cleans them on its way may make them two hosts.
    """
    if not text or len(text) > _LONGEST or not _PATH.fullmatch(text):
        return None
    path = re.split(r"[?#]", text, maxsplit=1)[0]
    return None if "//" in path else text
