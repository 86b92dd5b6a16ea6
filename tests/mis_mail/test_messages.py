"""Messages and what stands in them: nobody adds a header, a tag or a link of their own."""

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from mis_mail.composition import Composition
from mis_mail.mail import Mail, decoded, encoded
from mis_mail.messages import UnfitAddress, message_of
from mis_tenancy.identifiers import new_id

TEXT = "Dear {{ name }},\n{{ link('/login', token=token) }}\n"
HTML = """{% extends "layout.html" %}
{% block body %}<p>{{ name }}</p><a href="{{ link("/login", token=token) }}">x</a>{% endblock %}"""


@pytest.fixture(scope="module")
def composition(tmp_path_factory: pytest.TempPathFactory) -> Composition:
    folder = tmp_path_factory.mktemp("templates")
    (folder / "greeting.txt").write_text(TEXT)
    (folder / "greeting.html").write_text(HTML)
    return Composition(folder, "https://app.example.com/")


def wire(mail: Mail) -> bytes:
    return message_of(mail, sender="no-reply@mis.example", mail_id=new_id(), now=datetime.now(UTC)).as_bytes()


@given(st.text(max_size=80))
def test_no_name_and_no_subject_adds_a_header_a_tag_or_a_line(composition: Composition, text: str) -> None:
    """Catalogue 127."""
    mail = composition.compose(
        "greeting", to="a@b.example", subject=text, values={"name": text, "token": "t"}
    )
    parsed = message_from_bytes(wire(mail), policy=policy.default)
    assert set(parsed.keys()) == {
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"),
    }
    assert len(parsed.keys()) == 8
    assert mail.text.count("\n") == TEXT.count("\n") - 1
    assert mail.html.count("<") == composition.compose(
        "greeting", to="a@b.example", subject="", values={"name": "", "token": "t"}
    ).html.count("<")


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example\r\nBcc: all@b.example",
        "a@b.example\nBcc: all@b.example",
        "a@b.example, c@d.example",
        "a@b.example\x00",
        "a\u2028@b.example",
        "nobody",
        "a@b..example",
        "a@-\u3002.example",
        "@b.example",
        "",
    ],
)
def test_what_is_no_single_address_is_not_sent_to(address: str) -> None:
    """Catalogue 127."""
    with pytest.raises(UnfitAddress):
        wire(Mail(to=address, subject="x", text="x", html="x"))


def test_every_link_leads_to_the_public_url_and_no_value_becomes_one(composition: Composition) -> None:
    """Catalogue 126."""
    values = {"name": "Look at https://evil.example/<a href='//evil.example'>", "token": "a&b=c"}
    mail = composition.compose("greeting", to="a@b.example", subject="x", values=values)
    links = re.findall(r"[a-z]+://[^\s\"<]+", mail.text + mail.html)
    assert links == [
        "https://app.example.com/login?token=a%26b%3Dc",
        "https://app.example.com/login?token=a%26b%3Dc",
    ]
    assert re.findall(r'href="([^"]+)"', mail.html) == ["https://app.example.com/login?token=a%26b%3Dc"]


@pytest.mark.parametrize("path", ["login", "//evil.example/x", "https://evil.example", ""])
def test_a_link_is_a_path_of_ours(composition: Composition, path: str) -> None:
    with pytest.raises(ValueError, match="path of the public URL"):
        composition.link(path)


def test_a_mail_without_one_of_its_values_is_not_made(composition: Composition) -> None:
    with pytest.raises(UndefinedError):
        composition.compose("greeting", to="a@b.example", subject="x", values={"name": "x"})


def test_a_mail_survives_being_encoded_and_does_not_show_itself() -> None:
    mail = Mail("a@b.example", "s", "t", "h", datetime(2026, 11, 25, tzinfo=UTC))
    assert decoded(encoded(mail)) == mail
    assert "a@b.example" not in repr(mail)


def test_templates_make_links_by_the_one_function_only() -> None:
    """Catalogue 126."""
    root = Path(__file__).resolve().parents[2]
    templates = [
        path for room in ("shared", "services") for path in (root / room).rglob("templates/**/*.html")
    ]
    mails = [path for path in templates if '"layout.html"' in path.read_text() or "mis_mail" in path.parts]
    assert mails
    for path in mails:
        for target in re.findall(r"(?:href|src|action)\s*=\s*[\"']?([^\s>]*)", path.read_text()):
            assert target.startswith("{{"), (path, target)
            assert re.search(r"href=\"\{\{ ?link\(", path.read_text()), path
