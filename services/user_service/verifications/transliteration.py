"""Names as a machine-readable zone spells them (ICAO Doc 9303-3, section 6): A to Z and nothing else.

States may choose between two spellings of some letters, so a name has more than one form here.
"""

import re
import unicodedata
from itertools import product
from typing import Final

_LETTERS: Final = {
    "Ä": ("AE", "A"),
    "Å": ("AA", "A"),
    "Æ": ("AE",),
    "Ð": ("D",),
    "Đ": ("D",),
    "Ħ": ("H",),
    "\u0131": ("I",),
    "Ĳ": ("IJ",),
    "Ł": ("L",),
    "Ñ": ("N", "NXX"),
    "Ö": ("OE", "O"),
    "Ø": ("OE", "O"),
    "Œ": ("OE",),
    "ẞ": ("SS",),
    "Þ": ("TH",),
    "Ŧ": ("T",),
    "Ü": ("UE", "UXX", "U"),
}
# Each letter may double the forms; more than these nobody's name has.
_MOST_FORMS: Final = 64
_SEPARATORS: Final = re.compile(r"[\s\-]+")
_OTHER: Final = re.compile(r"[^A-Z]")


def words_of(name: str) -> list[set[str]]:
    """Return the words of a name, each as all its spellings; apostrophes and the like are left out."""
    upper = unicodedata.normalize("NFC", name).replace("ß", "ẞ").upper()
    forms = [_forms(word) for word in _SEPARATORS.split(upper)]
    return [{form for form in spelt if form} for spelt in forms if any(spelt)]


def _forms(word: str) -> set[str]:
    choices = [_LETTERS.get(letter) or (_plain(letter),) for letter in word]
    count = 1
    for place, spellings in enumerate(choices):
        if count * len(spellings) > _MOST_FORMS:
            choices[place] = spellings[:1]
        count *= len(choices[place])
    return {"".join(letters) for letters in product(*choices)}


def _plain(letter: str) -> str:
    decomposed = unicodedata.normalize("NFKD", letter)
    return _OTHER.sub("", decomposed)
