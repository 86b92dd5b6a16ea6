"""The words a user is found by, folded so that case and accents do not matter."""

import re
import unicodedata
from typing import Final

# A term stands in an index, whose entries are bounded; no address is longer than this.
LONGEST: Final = 254

# Letters that look accented and do not decompose.
_LETTERS: Final = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "ħ": "h",
        "ŧ": "t",
        "\u0131": "i",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
    }
)
_INNER_WORD: Final = re.compile(r"\w+")


def folded(text: str) -> str:
    """Return `text` in lower case without accents: `Łukasz Müller` as `lukasz muller`."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    return bare.casefold().translate(_LETTERS)


def search_terms(email: str, name: str) -> set[str]:
    """Return the terms of which a search finds the user by any beginning.

    They are the whole address and each word of the name; a compound one (`Anne-Marie`) also by its parts.
    """
    words = set(folded(name).split())
    parts = {part for word in words for part in _INNER_WORD.findall(word)}
    return {term[:LONGEST] for term in (folded(email), *words, *parts)}


def prefix_ranges(query: str, most: int = 8) -> list[tuple[str, str]]:
    """Return, for each of the first `most` words of `query`, the terms it begins as `(first, beyond last)`.

    The bounds hold under bytewise order, the collation of the terms' column.
    """
    prefixes = [word[:LONGEST] for word in folded(query).split()[:most]]
    return [(prefix, f"{prefix}\U0010ffff") for prefix in prefixes]
