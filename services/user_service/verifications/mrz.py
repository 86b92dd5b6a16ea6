"""The machine-readable zone of travel documents: TD1, TD2 and TD3 (ICAO Doc 9303, parts 3 to 6).

Pure: text in, fields and check digits out. Reading an image is somebody else's work, which makes mistakes; so
letters that look like digits are taken for digits where only digits can stand, and the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

FILLER: Final = "<"
_WEIGHTS: Final = (7, 3, 1)
_TO_DIGITS: Final = str.maketrans("OQDILZSGB", "000112568")
_TO_LETTERS: Final = str.maketrans("015826", "OISBZG")
# Years that a document is good for at most.
_LONGEST_VALIDITY: Final = 30


class MrzFormat(StrEnum):
    """The size of the document: TD1 are cards, TD3 passports."""

    TD1 = "TD1"
    TD2 = "TD2"
    TD3 = "TD3"


SHAPES: Final = {MrzFormat.TD1: (3, 30), MrzFormat.TD2: (2, 36), MrzFormat.TD3: (2, 44)}


@dataclass(frozen=True, slots=True)
class Mrz:
    """What a zone says. `failed` names the check digits that do not fit; dates are None where they are none.

    `is_truncated` tells that the names fill their field, so that letters or names may be missing at its end.
    """

    format: MrzFormat
    document_code: str
    issuer: str
    surname: str
    given_names: str
    number: str
    nationality: str
    birth: date | None
    sex: str
    expiry: date | None
    failed: tuple[str, ...]
    is_truncated: bool


def check_digit(text: str) -> int:
    """Return the check digit of `text` (Doc 9303-3, section 4.9); raise ValueError for foreign characters."""
    return sum(_value(one) * _WEIGHTS[place % 3] for place, one in enumerate(text)) % 10


def parse(lines: Sequence[str], today: date) -> Mrz:
    """Return the zone that `lines` are; raise ValueError where they have the shape of none."""
    shape = (len(lines), len(lines[0]) if lines else 0)
    found = next((one for one, of in SHAPES.items() if of == shape), None)
    if found is None or any(len(line) != shape[1] for line in lines):
        raise ValueError("These are not the lines of a machine-readable zone.")
    if any(not _is_allowed(one) for line in lines for one in line):
        raise ValueError("A machine-readable zone has letters, digits and fillers only.")
    return _card(lines, today) if found is MrzFormat.TD1 else _booklet(found, lines, today)


def _booklet(shape: MrzFormat, lines: Sequence[str], today: date) -> Mrz:
    first = _letters(lines[0], (0, len(lines[0])))
    end = len(first) - 1
    second = _digits(lines[1], (9, 10), (13, 20), (21, 28), (end, end + 1))
    second = _letters(second, (10, 13))
    optional = second[28:42] if shape is MrzFormat.TD3 else second[28:end]
    checks = _checks(second[0:10], second[13:20], second[21:28], optional)
    if shape is MrzFormat.TD3 and (optional.strip(FILLER) or second[42] not in "0<"):
        # The optional data have a digit of their own, which may be left out with them.
        checks.append(("optional", _digits(second[28:43], (14, 15))))
    checks.append(("composite", second[0:10] + second[13:20] + second[21:end] + second[end]))
    return _mrz(shape, first, first[5:], checks, nationality=second[10:13], sex=second[20], today=today)


def _card(lines: Sequence[str], today: date) -> Mrz:
    first = _letters(_digits(lines[0], (14, 15)), (0, 5))
    second = _letters(_digits(lines[1], (0, 7), (8, 15), (29, 30)), (15, 18))
    third = _letters(lines[2], (0, 30))
    checks = _checks(first[5:15], second[0:7], second[8:15], first[15:30])
    whole = first[5:30] + second[0:7] + second[8:15] + second[18:29]
    checks.append(("composite", whole + second[29]))
    return _mrz(MrzFormat.TD1, first, third, checks, nationality=second[15:18], sex=second[7], today=today)


def _checks(number: str, birth: str, expiry: str, optional: str) -> list[tuple[str, str]]:
    """Return the fields that have a check digit, by name, with it as their last character."""
    if number[9] == FILLER and (rest := optional.split(FILLER)[0]):
        # A number of more than nine letters goes on in the optional data, its check digit behind it.
        number = number[:9] + rest[:-1] + _digits(rest[-1], (0, 1))
    return [("number", number), ("birth", birth), ("expiry", expiry)]


def _mrz(
    shape: MrzFormat,
    first: str,
    names: str,
    checks: Sequence[tuple[str, str]],
    *,
    nationality: str,
    sex: str,
    today: date,
) -> Mrz:
    fields = dict(checks)
    surname, _, given = names.partition(FILLER * 2)
    return Mrz(
        format=shape,
        document_code=first[:2].strip(FILLER),
        issuer=first[2:5].strip(FILLER),
        surname=_spoken(surname),
        given_names=_spoken(given),
        number=fields["number"][:-1].strip(FILLER),
        nationality=nationality.strip(FILLER),
        birth=_date(fields["birth"][:6], latest=today.year),
        sex=sex,
        expiry=_date(fields["expiry"][:6], latest=today.year + _LONGEST_VALIDITY),
        failed=tuple(name for name, text in checks if not _fits(text)),
        is_truncated=not names.endswith(FILLER),
    )


def _fits(text: str) -> bool:
    """Return whether the last character is the check digit of those before it."""
    return text[-1].isdigit() and check_digit(text[:-1]) == int(text[-1])


def _date(text: str, *, latest: int) -> date | None:
    """Return the date that YYMMDD is, in the last century that does not lie behind the year `latest`."""
    if not text.isdigit():
        return None
    year = latest - (latest - int(text[:2])) % 100
    try:
        return date(year, int(text[2:4]), int(text[4:6]))
    except ValueError:
        return None


def _spoken(names: str) -> str:
    return " ".join(names.replace(FILLER, " ").split())


def _digits(line: str, *spans: tuple[int, int]) -> str:
    return _translated(line, _TO_DIGITS, spans)


def _letters(line: str, *spans: tuple[int, int]) -> str:
    return _translated(line, _TO_LETTERS, spans)


def _translated(line: str, table: dict[int, int], spans: Sequence[tuple[int, int]]) -> str:
    for start, stop in spans:
        line = line[:start] + line[start:stop].translate(table) + line[stop:]
    return line


def _value(one: str) -> int:
    if one == FILLER:
        return 0
    if not _is_allowed(one):
        raise ValueError(f"{one!r} does not stand in a machine-readable zone.")
    return int(one, 36)


def _is_allowed(one: str) -> bool:
    return one == FILLER or (one.isascii() and (one.isdigit() or one.isupper()))
