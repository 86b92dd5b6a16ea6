"""Judges what was read of a document: its check digits, its dates, and whether it is the user's."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final

from user_service.verifications.finding import Found, Line, find
from user_service.verifications.mrz import Mrz
from user_service.verifications.transliteration import words_of

# Below this a reader guesses, and a guess verifies nobody.
_SURE: Final = 0.8
_LONGEST_LIFE: Final = 130


class Status(StrEnum):
    """What a verification has come to."""

    PENDING = "pending"
    VERIFIED = "verified"
    REJECTED = "rejected"
    NEEDS_REVIEW = "needs_review"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; the detail quotes nothing of the document."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The status, what it rests on, and how sure it is, from 0 to 1."""

    status: Status
    checks: tuple[Check, ...]
    confidence: float

    def documents(self) -> list[dict[str, Any]]:
        """Return the checks as plain JSON."""
        return [asdict(check) for check in self.checks]


def judge(lines: Sequence[Line], name: str, today: date) -> Judgement:
    """Return what becomes of a document of these lines, shown by a user of this name."""
    found = find(lines, today)
    if found is None:
        missing = Check("mrz_found", False, "No machine-readable zone could be read. Send a sharper picture.")
        return Judgement(Status.NEEDS_REVIEW, (missing,), 0.0)
    mrz = found.mrz
    shown = Check("mrz_found", True, f"The document's zone is of format {mrz.format}.")
    likeness = _likeness(mrz, name)
    checks = (shown, *_check_digits(mrz), _expiry(mrz, today), _birth(mrz, today), _name(likeness))
    passed = sum(check.passed for check in checks) / len(checks)
    return Judgement(_status(found, checks, likeness), checks, round(found.score * passed, 2))


def _status(found: Found, checks: Sequence[Check], likeness: float) -> Status:
    if found.mrz.failed or found.score < _SURE:
        # Misread or forged: nobody can tell by the digits alone.
        return Status.NEEDS_REVIEW
    if all(check.passed for check in checks):
        return Status.VERIFIED
    others = [check for check in checks if not check.passed and check.name != "name_matches"]
    return Status.NEEDS_REVIEW if not others and likeness > 0 else Status.REJECTED


def _check_digits(mrz: Mrz) -> list[Check]:
    names = ("number", "birth", "expiry", "composite")
    further = [name for name in mrz.failed if name not in names]
    return [
        Check(
            f"{name}_check_digit",
            name not in mrz.failed,
            "The check digit fits." if name not in mrz.failed else "The check digit does not fit.",
        )
        for name in (*names, *further)
    ]


def _expiry(mrz: Mrz, today: date) -> Check:
    if mrz.expiry is None:
        return Check("not_expired", False, "The date of expiry is no date.")
    if mrz.expiry < today:
        return Check("not_expired", False, "The document has expired.")
    return Check("not_expired", True, "The document is valid today.")


def _birth(mrz: Mrz, today: date) -> Check:
    is_plausible = (
        mrz.birth is not None and today.year - _LONGEST_LIFE <= mrz.birth.year and mrz.birth <= today
    )
    told = (
        "The date of birth is plausible."
        if is_plausible
        else "The date of birth is no date of a living person."
    )
    return Check("birth_plausible", is_plausible, told)


def _name(likeness: float) -> Check:
    if likeness == 1:
        return Check("name_matches", True, "The document is in the user's name.")
    told = "Part of the user's name is on the document." if likeness else "The document is in another name."
    return Check("name_matches", False, told)


def _likeness(mrz: Mrz, name: str) -> float:
    """Return which part of the user's name is on the document, a word of its surname among them."""
    words = words_of(name)
    surnames, all_words = mrz.surname.split(), [*mrz.surname.split(), *mrz.given_names.split()]
    found = [forms for forms in words if any(_stands(form, all_words, mrz) for form in forms)]
    has_surname = any(_stands(form, surnames, mrz) for forms in words for form in forms)
    if not words or not has_surname:
        return 0.0
    return len(found) / len(words)


def _stands(form: str, words: Sequence[str], mrz: Mrz) -> bool:
    if form in words:
        return True
    # A name that fills its field may have been cut in its last word.
    return bool(mrz.is_truncated and words and form.startswith(words[-1]))
