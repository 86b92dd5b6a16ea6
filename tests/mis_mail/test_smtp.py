"""Mails over a real SMTP connection: encrypted, verified, and told apart when they cannot go."""

import socket
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest

from mis_mail.mail import Mail
from mis_mail.messages import message_of
from mis_mail.smtp import Server, SmtpTransport
from mis_mail.transport import MailRefused, MailUndelivered
from mis_tenancy.identifiers import new_id
from mis_tenancy.settings import SettingsError
from tests.certificates import Authority
from tests.mis_mail.servers import Mailbox, mail_server


def a_message(to: str = "ada@acme.example", subject: str = "Hello") -> EmailMessage:
    mail = Mail(to=to, subject=subject, text="In words.\n", html="<p>In words.</p>\n")
    return message_of(mail, sender="no-reply@mis.example", mail_id=new_id(), now=datetime.now(UTC))


def near(
    port: int,
    *,
    is_tls: bool = False,
    is_starttls: bool = False,
    user: str | None = None,
    password: str | None = None,
) -> Server:
    return Server("127.0.0.1", port, is_tls, is_starttls, user, password)


async def test_a_message_arrives_with_both_its_forms() -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        await SmtpTransport(near(port)).send(a_message())
    [message] = mailbox.messages
    assert mailbox.recipients == [["ada@acme.example"]]
    assert (message["From"], message["To"], message["Subject"]) == (
        "no-reply@mis.example",
        "ada@acme.example",
        "Hello",
    )
    assert message["Auto-Submitted"] == "auto-generated"
    forms = {part.get_content_type(): part.get_content().strip() for part in message.iter_parts()}
    assert forms == {"text/plain": "In words.", "text/html": "<p>In words.</p>"}


async def test_an_address_and_a_subject_in_any_script_arrive() -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        await SmtpTransport(near(port)).send(a_message("müller@bücher.example", "Größe 雪"))
    assert mailbox.messages[0]["Subject"] == "Größe 雪"
    assert mailbox.recipients == [["müller@xn--bcher-kva.example"]]


async def test_a_server_that_knows_only_ascii_gets_no_other_address_and_all_other_mail() -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox, takes_utf8=False) as port:
        transport = SmtpTransport(near(port))
        with pytest.raises(MailRefused):
            await transport.send(a_message("müller@acme.example"))
        await transport.send(a_message("ada@bücher.example"))
    assert mailbox.recipients == [["ada@xn--bcher-kva.example"]]


@pytest.mark.parametrize("is_tls", [True, False])
async def test_a_password_is_sent_over_tls_only(tmp_path: Path, is_tls: bool) -> None:
    authority, mailbox = Authority(tmp_path), Mailbox()
    serving = authority.serving("127.0.0.1")
    tls, starttls = (serving, None) if is_tls else (None, serving)
    async with mail_server(mailbox, tls=tls, starttls=starttls, login=("mis", "s3cret")) as port:
        server = near(port, is_tls=is_tls, is_starttls=not is_tls, user="mis", password="s3cret")
        await SmtpTransport(server, tls=authority.trusting).send(a_message())
        wrong = near(port, is_tls=is_tls, is_starttls=not is_tls, user="mis", password="guess")
        with pytest.raises(MailUndelivered, match="535"):
            await SmtpTransport(wrong, tls=authority.trusting).send(a_message())
    [session] = mailbox.sessions
    assert session.authenticated
    assert is_tls or session.ssl is not None


@pytest.mark.parametrize("is_tls", [True, False])
async def test_a_certificate_that_nobody_vouches_for_is_not_accepted(tmp_path: Path, is_tls: bool) -> None:
    authority, mailbox = Authority(tmp_path), Mailbox()
    serving = authority.serving("127.0.0.1")
    tls, starttls = (serving, None) if is_tls else (None, serving)
    async with mail_server(mailbox, tls=tls, starttls=starttls) as port:
        with pytest.raises(MailUndelivered):
            await SmtpTransport(near(port, is_tls=is_tls, is_starttls=not is_tls)).send(a_message())
    assert mailbox.messages == []


async def test_a_server_without_starttls_gets_nothing_where_it_is_demanded() -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        with pytest.raises(MailUndelivered):
            await SmtpTransport(near(port, is_starttls=True)).send(a_message())
    assert mailbox.messages == []


@pytest.mark.parametrize(
    ("answer", "failure"),
    [("550 No such user", MailRefused), ("450 Later", MailUndelivered), ("452 Full", MailUndelivered)],
)
@pytest.mark.parametrize("at", ["rcpt_answers", "data_answers"])
async def test_what_will_never_go_is_told_from_what_may_go_later(
    answer: str, failure: type[Exception], at: str
) -> None:
    mailbox = Mailbox()
    getattr(mailbox, at).append(answer)
    async with mail_server(mailbox) as port:
        transport = SmtpTransport(near(port))
        with pytest.raises(failure) as refusal:
            await transport.send(a_message())
        # Neither the address nor the server's own words, which may repeat it, come into logs.
        assert "ada" not in str(refusal.value)
        await transport.send(a_message())
    assert len(mailbox.messages) == 1


async def test_a_server_that_is_away_is_left_alone_for_a_moment() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        now = 0.0
        transport = SmtpTransport(near(taken.getsockname()[1]), clock=lambda: now)
        with pytest.raises(MailUndelivered, match="SMTPConnectError"):
            await transport.send(a_message())
        with pytest.raises(MailUndelivered, match="a moment ago"):
            await transport.send(a_message())
        now = 15.0
        with pytest.raises(MailUndelivered, match="SMTPConnectError"):
            await transport.send(a_message())


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", Server("mail.example", 587, False, True)),
        ("smtps://mail.example", Server("mail.example", 465, True, False)),
        ("smtp://u%40x:p%3A%2F@mail.example:25", Server("mail.example", 25, False, True, "u@x", "p:/")),
        ("smtp://mailpit:1025?starttls=off", Server("mailpit", 1025, False, False)),
        ("smtp://u:p@localhost:1025", Server("localhost", 1025, False, False, "u", "p")),
    ],
)
def test_a_url_names_a_server(url: str, server: Server) -> None:
    assert Server.parse(url) == server
    assert "p:/" not in repr(server)


@pytest.mark.parametrize(
    "url",
    [
        "smtp://",
        "smtp://mail.example:99999",
        "smtp://mail.example/path",
        "smtp://mail.example?starttls=maybe",
        "smtp://u:p@mail.example?starttls=off",
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="MIS_SMTP_URL") as refusal:
        Server.parse(url)
    assert "u:p" not in str(refusal.value)
