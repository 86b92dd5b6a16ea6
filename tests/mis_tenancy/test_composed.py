import unicodedata
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from auth_service.sso.people import _name_in
from mis_accounts.emails import Email, parse_email
from mis_accounts.password_rules import LONGEST_BYTES, normalized
from mis_http.files.file_names import checked_name
from mis_http.person_fields import Name
from mis_tenancy import composed as module
from mis_tenancy.composed import composed
from mis_tenancy.errors import ValidationFailed

# Of the last one four characters become one, which is the most there is.
LETTERS = ("a", "é", "e\u0301", "\u1112\u1161\u11ab", "\u0958", "\u03b1\u0313\u0300\u0345")
# A megabyte of these, put in order, keeps a processor busy for minutes.
MARKS = "a" + "\u0301" * 1_000 + "\u0316" * 1_000
SOURCES = Path(__file__).parents[2]


@pytest.mark.parametrize(("letter", "longest"), list(product(LETTERS, (0, 1, 5, 40))))
def test_what_is_not_too_long_is_composed_whole_and_what_is_stays_too_long(letter: str, longest: int) -> None:
    for count in range(2 * longest + 3):
        whole = unicodedata.normalize("NFC", letter * count)
        found = composed(letter * count, longest)
        assert found == whole if len(whole) <= longest else len(found) > longest


@pytest.fixture
def lengths(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Collect the lengths of what is composed."""
    found: list[int] = []
    normalize = unicodedata.normalize

    class Watched:
        @staticmethod
        def normalize(form: Any, text: str) -> str:
            found.append(len(text))
            return normalize(form, text)

    monkeypatch.setattr(module, "unicodedata", Watched)
    yield found
    assert found
    assert max(found) <= 4 * (LONGEST_BYTES + 1)


def test_no_more_of_a_persons_name_is_composed_than_a_name_may_be(lengths: list[int]) -> None:
    with pytest.raises(ValidationError, match="at most 200"):
        TypeAdapter(Name).validate_python(MARKS * 50)
    assert max(lengths) <= 4 * 201


def test_no_more_of_an_address_is_composed_than_an_address_may_be(lengths: list[int]) -> None:
    with pytest.raises(ValidationFailed):
        parse_email(f"{MARKS * 50}@example.com")


def test_no_more_of_a_files_name_is_composed_than_a_name_may_be(lengths: list[int]) -> None:
    with pytest.raises(ValidationFailed):
        checked_name(MARKS * 50)


def test_no_more_of_a_password_is_composed_than_a_password_may_be(lengths: list[int]) -> None:
    assert len(normalized(MARKS * 50).encode()) > LONGEST_BYTES


def test_no_more_of_a_providers_word_is_composed_than_a_name_may_be(lengths: list[int]) -> None:
    assert len(_name_in({"name": MARKS * 50}, Email("a@example.com", "a@example.com"))) == 200


def test_strangers_text_is_composed_in_one_place_alone() -> None:
    # What the others put into another form is bounded by whoever calls them.
    known = {"composed.py", "emails.py", "search_terms.py", "downloads.py", "transliteration.py"}
    files = (path for room in ("shared", "services") for path in (SOURCES / room).rglob("*.py"))
    assert {path.name for path in files if "unicodedata.normalize" in path.read_text()} == known
