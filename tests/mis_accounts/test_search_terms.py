import pytest
from hypothesis import given
from hypothesis import strategies as st

from mis_accounts.search_terms import LONGEST, folded, prefix_ranges, search_terms

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=60)


def finds(query: str, email: str, name: str) -> bool:
    terms = search_terms(email, name)
    # The column's order is bytewise, which is the order of code points and so of Python's strings.
    return all(any(first <= term < beyond for term in terms) for first, beyond in prefix_ranges(query))


@pytest.mark.parametrize(
    "query",
    [
        "ada",
        "ADA",
        "ada.l",
        "ada.love@example.com",
        "love",
        "Lové",
        "lovelace-k",
        "king",
        "strasse",
        "lukasz",
        "o'b",
        "brien",
    ],
)
def test_a_beginning_of_the_address_or_of_a_word_finds(query: str) -> None:
    assert finds(query, "Ada.Love@example.com", "Ada Lovelace-King Straße Łukasz O'Brien")


@pytest.mark.parametrize("query", ["da", "elace", "example", "ada lovelace zz", "ada.love@example.comm"])
def test_a_middle_or_a_wrong_word_does_not(query: str) -> None:
    assert not finds(query, "Ada.Love@example.com", "Ada Lovelace")


def test_every_word_asked_for_must_be_met() -> None:
    assert finds("love ada", "x@example.com", "Ada Lovelace")
    assert not finds("love bob", "x@example.com", "Ada Lovelace")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Müller", "muller"),
        ("MU\u0308LLER", "muller"),
        ("Ångström", "angstrom"),
        ("Đặng", "dang"),
        ("Æsop", "aesop"),
    ],
)
def test_case_and_accents_do_not_matter(text: str, plain: str) -> None:
    assert folded(text) == plain


@given(name=WORDS, cut=st.integers(1, 60))
def test_any_beginning_of_any_word_finds(name: str, cut: int) -> None:
    for word in name.split():
        assert finds(word[:cut], "x@example.com", name)


@given(name=WORDS)
def test_terms_are_bounded_and_folding_is_stable(name: str) -> None:
    for term in search_terms("x@example.com", name * 20):
        assert 0 < len(term) <= LONGEST
        assert folded(term) == term


@given(st.text(st.characters(max_codepoint=127), max_size=30))
def test_plain_letters_are_folded_as_all_others_are(text: str) -> None:
    # One letter beyond them sends the whole text the longer way.
    assert folded(text + "\u00e9") == folded(text) + "e"
