"""An API key's text: one spelling, and a typing error is found without asking anybody."""

import random
from string import ascii_letters, digits
from uuid import UUID

import pytest

from mis_tenancy.identifiers import new_id
from mis_tenancy.tokens.api_key_texts import ApiKey, new_api_key, parse_api_key

KEY = ApiKey(UUID(int=7 << 90), UUID(int=9 << 77), bytes(range(32)))
ALPHABET = digits + ascii_letters


def test_a_key_is_read_back_as_it_was_made() -> None:
    for tenant_id in (new_id(), UUID(int=0), UUID(int=2**128 - 1)):
        key = new_api_key(tenant_id)
        assert parse_api_key(key.text) == key
        assert key.text.startswith(key.prefix)
        assert len(key.text) == 96


def test_a_key_shows_its_secret_to_nobody_who_prints_it() -> None:
    assert str(KEY.secret) not in repr(KEY)


@pytest.mark.parametrize("at", range(4, 96))
def test_a_mistyped_character_is_found(at: int) -> None:
    """Catalogue 98, 71."""
    for wrong in set(ALPHABET) - {KEY.text[at]}:
        assert parse_api_key(f"{KEY.text[:at]}{wrong}{KEY.text[at + 1 :]}") is None


@pytest.mark.parametrize("at", range(4, 95))
def test_two_characters_in_the_wrong_order_are_found(at: int) -> None:
    """Catalogue 98."""
    swapped = f"{KEY.text[:at]}{KEY.text[at + 1]}{KEY.text[at]}{KEY.text[at + 2 :]}"
    assert swapped == KEY.text or parse_api_key(swapped) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "mis_", "mis_" + "0" * 91, "mis_" + "z" * 92, "mis_" + "0" * 93, "MIS_" + KEY.text[4:]),
        *(KEY.text[:-1], KEY.text[:-4], KEY.text[:-8], KEY.text + "0", " " + KEY.text, KEY.text + "\n"),
        *(KEY.text.replace("mis_", "mis_rt_"), KEY.text.swapcase(), KEY.text[:50] + "\u0661" + KEY.text[51:]),
        KEY.text[4:],
    ],
)
def test_what_is_no_key_in_its_one_spelling_is_none(text: str) -> None:
    """Catalogue 71."""
    assert parse_api_key(text) is None


def test_no_other_number_spells_the_same_key() -> None:
    """A number past 544 bits would be a second text, were it cut down instead of refused. Catalogue 71."""
    beyond = "mis_" + "z" * 92
    assert parse_api_key(beyond) is None
    rng = random.Random(98)
    for _ in range(2_000):
        assert parse_api_key("mis_" + "".join(rng.choices(ALPHABET, k=92))) is None
