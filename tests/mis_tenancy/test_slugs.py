import pytest

from mis_tenancy.identifiers import new_id
from mis_tenancy.slugs import is_reserved, parse_id, parse_slug


@pytest.mark.parametrize("text", ["abc", "a-b", "a1b2", "A-Corp", "x" * 63, "0-0"])
def test_a_slug_is_read_in_lower_case(text: str) -> None:
    assert parse_slug(text) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "ab",
        "-ab",
        "ab-",
        "a_b",
        "a.b",
        "a b",
        "x" * 64,
        "abc\n",
        " abc",
        "äbc",
        "\u212aelvin",
        "a\0b",
        "a/b",
    ],
)
def test_what_is_not_a_slug_is_refused(text: str) -> None:
    assert parse_slug(text) is None


def test_an_id_is_read_only_in_its_canonical_form() -> None:
    identifier = new_id()
    assert parse_id(str(identifier).upper()) == identifier
    for text in (
        identifier.hex,
        f"{{{identifier}}}",
        f"urn:uuid:{identifier}",
        f"{identifier} ",
        "",
        "1" * 36,
    ):
        assert parse_id(text) is None


@pytest.mark.parametrize(
    "slug",
    [
        "api",
        "www",
        "create",
        "exports",
        "xn--bcher-kva",
        "0191d2a0-0000-7000-8000-00000000abcd",
        "0191d2a0000070008000" + "ab" * 6,
    ],
)
def test_what_the_platform_or_a_reader_could_confuse_is_reserved(slug: str) -> None:
    assert is_reserved(slug)


def test_other_slugs_are_free() -> None:
    assert not any(map(is_reserved, ["acme", "apis", "my-www", "deadbeef"]))
