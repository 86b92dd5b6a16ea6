"""The machine-readable zone: Doc 9303's own specimens, and what reading and forging do to them."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from user_service.verifications.finding import Line, find
from user_service.verifications.judging import Status, judge
from user_service.verifications.mrz import MrzFormat, check_digit, parse
from user_service.verifications.transliteration import words_of

TODAY = date(2026, 11, 26)
TD1 = ["I<UTOD231458907<<<<<<<<<<<<<<<", "7408122F1204159UTO<<<<<<<<<<<6", "ERIKSSON<<ANNA<MARIA<<<<<<<<<<"]
TD2 = ["I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<", "D231458907UTO7408122F1204159<<<<<<<6"]
TD3 = ["P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "L898902C36UTO7408122F1204159ZE184226B<<<<<10"]
SPECIMENS = {MrzFormat.TD1: TD1, MrzFormat.TD2: TD2, MrzFormat.TD3: TD3}
CHARACTERS = st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789<"), min_size=1, max_size=60)


def passport(names: str = "ERIKSSON<<ANNA<MARIA", expiry: str = "301231", birth: str = "740812") -> list[str]:
    """Return a passport's zone whose check digits fit."""
    number = "L898902C3"
    number, birth, expiry = (field + str(check_digit(field)) for field in (number, birth, expiry))
    optional = "<" * 14 + "0"
    composite = check_digit(number + birth + expiry + optional)
    return [f"P<UTO{names:<<39}"[:44], f"{number}UTO{birth}F{expiry}{optional}{composite}"]


def lines(texts: list[str], score: float = 0.99) -> list[Line]:
    return [Line("UTOPIA PASSPORT", 0.9), *(Line(text, score) for text in texts)]


@pytest.mark.parametrize("shape", list(MrzFormat))
def test_each_size_of_document_is_read(shape: MrzFormat) -> None:
    mrz = parse(SPECIMENS[shape], TODAY)
    assert (mrz.format, mrz.failed, mrz.is_truncated) == (shape, (), False)
    assert (mrz.surname, mrz.given_names) == ("ERIKSSON", "ANNA MARIA")
    assert (mrz.issuer, mrz.nationality, mrz.sex) == ("UTO", "UTO", "F")
    assert (mrz.birth, mrz.expiry) == (date(1974, 8, 12), date(2012, 4, 15))
    assert mrz.number == ("L898902C3" if shape is MrzFormat.TD3 else "D23145890")


def test_a_longer_number_goes_on_in_the_optional_data() -> None:
    digit = check_digit("D23145890734")
    first = f"I<UTOD23145890<734{digit}<<<<<<<<<<<"
    composite = check_digit(first[5:30] + "7408122" + "1204159" + "<" * 11)
    mrz = parse([first, f"7408122F1204159UTO<<<<<<<<<<<{composite}", TD1[2]], TODAY)
    assert (mrz.number, mrz.failed) == ("D23145890734", ())


@pytest.mark.parametrize("shape", list(MrzFormat))
def test_every_altered_digit_is_noticed(shape: MrzFormat) -> None:
    rows = SPECIMENS[shape]
    row, end = (1, 43) if shape is MrzFormat.TD3 else (1, len(rows[1]) - 1)
    for at, one in enumerate(rows[row][:end]):
        if one.isdigit():
            forged = rows[row][:at] + str((int(one) + 1) % 10) + rows[row][at + 1 :]
            assert parse([*rows[:row], forged, *rows[row + 1 :]], TODAY).failed, (at, forged)


@given(CHARACTERS)
def test_a_check_digit_is_one_digit_and_notices_each_wrong_character(text: str) -> None:
    assert 0 <= check_digit(text) <= 9
    for at, one in enumerate(text):
        other = "1" if one != "1" else "2"
        if (int(one, 36) if one != "<" else 0) % 10 != int(other):
            assert check_digit(text) != check_digit(text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize(
    "rows",
    [
        [],
        ["<" * 44],
        ["<" * 44] * 3,
        ["<" * 30] * 2,
        ["A" * 43, "A" * 44],
        ["ä" * 44] * 2,
        ["a" * 44] * 2,
        ["²" * 44] * 2,
    ],
)
def test_what_is_no_zone_is_refused(rows: list[str]) -> None:
    with pytest.raises(ValueError, match="machine-readable"):
        parse(rows, TODAY)


@given(st.lists(st.text(max_size=50), max_size=5))
def test_whatever_was_read_is_judged_without_a_fault(texts: list[str]) -> None:
    assert judge([Line(text, 0.5) for text in texts], "Ada", TODAY).status is Status.NEEDS_REVIEW


@pytest.mark.parametrize(
    ("birth", "expected"), [("740812", 1974), ("260101", 2026), ("271231", 1927), ("000229", 2000)]
)
def test_nobody_is_born_in_the_future(birth: str, expected: int) -> None:
    mrz = parse(passport(birth=birth), TODAY)
    assert mrz.birth is not None
    assert mrz.birth.year == expected


def test_misread_letters_are_mended_where_only_digits_or_letters_can_stand() -> None:
    read = ["P<UT0ERIKSS0N<<ANNA<MARIA<<<<<<<<<<<<<<<<", "L898902C36UT07408I22F1204159ZE184226B<<<<<1O"]
    found = find(lines(read), TODAY)
    assert found is not None
    assert found.mrz.failed == ()
    assert (found.mrz.surname, found.mrz.issuer) == ("ERIKSSON", "UTO")


def test_spaces_and_a_miscounted_run_of_fillers_do_no_harm() -> None:
    read = [" ".join(TD3[0].rstrip("<")) + " << <<«", TD3[1].replace("<<<<<", "<<<")]
    found = find(lines(read), TODAY)
    assert found is not None
    assert (found.mrz.failed, found.mrz.given_names) == ((), "ANNA MARIA")


@pytest.mark.parametrize(
    ("name", "zone", "expected"),
    [
        ("Anna Eriksson", "ERIKSSON<<ANNA<MARIA", "verified"),
        ("Anna Maria Eriksson", "ERIKSSON<<ANNA<MARIA", "verified"),
        ("eriksson, anna", "ERIKSSON<<ANNA<MARIA", "verified"),
        ("Zoë Müller-Lüdenscheidt", "MUELLER<LUEDENSCHEIDT<<ZOE", "verified"),
        ("Zoë Müller-Lüdenscheidt", "MULLER<LUDENSCHEIDT<<ZOE", "verified"),
        ("José Núñez", "NUNEZ<<JOSE", "verified"),
        ("Søren Ångström", "AANGSTROEM<<SOEREN", "verified"),
        ("Sinéad O'Brien", "OBRIEN<<SINEAD", "verified"),
        ("Jürgen Großmann", "GROSSMANN<<JUERGEN", "verified"),
        ("Þóra Æsa", "AESA<<THORA", "verified"),
        (
            "Nilavadhanananda Chayapa Dejthamrong Krasuang",
            "NILAVADHANANANDA<<CHAYAPA<DEJTHAMRONG<K",
            "verified",
        ),
        ("Anna Lind", "ERIKSSON<<ANNA<MARIA", "rejected"),
        ("Bert Eriksson", "ERIKSSON<<ANNA<MARIA", "needs_review"),
        ("Bert Lind", "ERIKSSON<<ANNA<MARIA", "rejected"),
        ("山田 太郎", "YAMADA<<TARO", "rejected"),
    ],
)
def test_the_name_is_compared_as_a_zone_spells_it(name: str, zone: str, expected: str) -> None:
    judgement = judge(lines(passport(zone)), name, TODAY)
    assert judgement.status == expected, judgement
    assert all(
        "Eriksson" not in check.detail and "ERIKSSON" not in check.detail for check in judgement.checks
    )


def test_what_has_expired_is_rejected_and_what_is_not_sure_is_reviewed() -> None:
    assert judge(lines(passport(expiry="261125")), "Anna Eriksson", TODAY).status is Status.REJECTED
    assert judge(lines(passport(expiry="261126")), "Anna Eriksson", TODAY).status is Status.VERIFIED
    assert judge(lines(passport(), score=0.5), "Anna Eriksson", TODAY).status is Status.NEEDS_REVIEW
    forged = passport()
    forged[1] = forged[1].replace("740812", "840812")
    judgement = judge(lines(forged), "Anna Eriksson", TODAY)
    failed = {check.name for check in judgement.checks if not check.passed}
    assert (judgement.status, failed) == (Status.NEEDS_REVIEW, {"birth_check_digit", "composite_check_digit"})
    assert judgement.confidence < judge(lines(passport()), "Anna Eriksson", TODAY).confidence


def test_a_word_has_all_its_spellings_and_not_endlessly_many() -> None:
    assert words_of("Müller") == [{"MUELLER", "MUXXLLER", "MULLER"}]
    assert words_of("  -  ' ") == []
    (many,) = words_of("ü" * 60)
    assert len(many) <= 64
