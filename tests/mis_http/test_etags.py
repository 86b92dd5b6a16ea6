import pytest

from mis_http.etags import Precondition, PreconditionFailed, is_known


@pytest.mark.parametrize(
    ("header", "known"),
    [
        *(
            (None, False),
            ("*", True),
            (' "7" ', True),
            ('W/"7"', True),
            ('"6", W/"7"', True),
            ('"6","7"', True),
        ),
        *(
            ("7", False),
            ('"77"', False),
            ("", False),
            (",", False),
            ('"', False),
            ('W/"', False),
            ('""', False),
        ),
        *(('w/"7"', False), ('"7', False), ('7"', False), ('"6" "7"', False), ('"6"\t,\t"7"', True)),
    ],
)
def test_a_version_is_known_that_the_header_names(header: str | None, known: bool) -> None:
    assert is_known(header, 7) is known


@pytest.mark.parametrize(("header", "held"), [('"7"', True), ('W/"7"', False), ("*", True), (None, True)])
def test_a_condition_is_met_by_strong_tags_alone(header: str | None, held: bool) -> None:
    if held:
        Precondition(header).hold(7)
    else:
        with pytest.raises(PreconditionFailed):
            Precondition(header).hold(7)


@pytest.mark.parametrize("filling", [" ", "\t", '"', ",", ', "', "W/", 'W/"', '" '])
def test_a_header_of_any_length_is_read_once(filling: str) -> None:
    """Read again from each of its characters, such a header takes hours, and this test with it."""
    assert is_known(f'"6"{filling * 1_000_000}x, "7"', 7)
