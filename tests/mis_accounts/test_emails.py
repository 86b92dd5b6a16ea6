import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given
from hypothesis import strategies as st

from mis_accounts.emails import parse_email
from mis_tenancy.errors import ValidationFailed


@pytest.mark.parametrize(
    "domain", ["example.com", "firm.test", "host.local", "t-1.example", "localhost", "bücher.de"]
)
def test_an_address_needs_no_deliverable_domain(domain: str) -> None:
    assert parse_email(f"ada@{domain}").address == f"ada@{domain}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        (" ada@example.com\n", "ada@example.com"),
        ("zoe\u0308@example.com", "zo\u00eb@example.com"),
        ("STRASSE@example.com", "straße@example.com"),
        ("ada@xn--bcher-kva.de", "ada@bücher.de"),
    ],
)
def test_spellings_of_one_address_are_compared_as_one(one: str, other: str) -> None:
    assert parse_email(one).norm == parse_email(other).norm


def test_the_local_part_is_shown_as_it_was_written() -> None:
    assert parse_email("Ada.Lovelace@Example.com").address == "Ada.Lovelace@example.com"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@@example.com",
        "a da@example.com",
        "ada@exa mple.com",
        "ada\x00@example.com",
        "ada\r\nBcc: eve@example.com@example.com",
        "Ada <ada@example.com>",
        '"ada"@example.com',
        "ada@[127.0.0.1]",
        "ada@ex_ample.com",
        "\ud800@example.com",
        f"ada@{'x' * 250}.com",
    ],
)
def test_what_is_no_address_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse_email(text, field="owner.email")
    assert refused.value.members["errors"][0]["field"] == "owner.email"
    assert refused.value.members["errors"][0]["code"] == "email_invalid"


def by_the_library(text: str) -> str | None:
    try:
        return validate_email(text, check_deliverability=False, globally_deliverable=False).normalized
    except (EmailNotValidError, ValueError):
        return None


WRITTEN = st.text("aZ0.-_+!'@", min_size=1, max_size=12)


@given(
    st.builds(
        "{}@{}.{}".format, WRITTEN, WRITTEN, st.sampled_from(["com", "Example.ORG", "c-", "xn--p1ai", "1"])
    )
)
@example(f"{'a' * 64}@example.com")
@example(f"{'a' * 65}@example.com")
@example(f"a@{'b' * 63}.com")
@example(f"a@{'b' * 64}.com")
@example(f"a@{'b.' * 124}com")
@example(f"a@{'b.' * 126}com")
@example("a@xn--bcher-kva.de")
@example("a@ab--c.de")
@example("a@b.c\n")
def test_what_is_taken_at_a_glance_is_what_the_library_takes(text: str) -> None:
    try:
        taken: str | None = parse_email(text).address
    except ValidationFailed:
        taken = None
    assert taken == (by_the_library(text.strip()) if len(text.strip()) <= 254 else None)
