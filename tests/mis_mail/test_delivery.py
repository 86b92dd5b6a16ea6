"""Mails on their way: sealed beside their cause, sent by the worker, kept at while the server is away."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from mis_jobs.jobs import MOST_ATTEMPTS, Job, PermanentFailure
from mis_mail.choice import transport_for
from mis_mail.delivery import LATER, Delivery
from mis_mail.folder import FolderTransport
from mis_mail.mail import Mail
from mis_mail.queue import MAIL, MailQueue
from mis_mail.smtp import SmtpTransport
from mis_mail.transport import MailRefused, MailUndelivered, Transport
from mis_tenancy.database import Database
from mis_tenancy.encryption import Undecryptable, Wrapping
from mis_tenancy.identifiers import new_id
from mis_tenancy.settings import MasterKeys
from tests.servers import TestServers
from tests.suite import MASTER_KEYS

RESET = Mail(
    "ada@acme.example", "Your password", "https://x.example/reset?token=open-sesame", "<p>open-sesame</p>"
)
QUEUE = MailQueue(Wrapping(MasterKeys.parse(MASTER_KEYS)))


@pytest.fixture
async def platform(test_servers: TestServers) -> AsyncIterator[Database]:
    database = Database(test_servers.database("mail").platform)
    await database.start()
    async with database.platform_transaction() as session:
        await session.execute(text("delete from jobs"))
    yield database
    await database.stop()


class Answers:
    """A transport that raises the next of `failures`, and keeps what it took."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.taken: list[EmailMessage] = []

    async def send(self, message: EmailMessage) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append(message)


async def queued(platform: Database, mail: Mail = RESET, tenant_id: UUID | None = None) -> UUID:
    async with platform.platform_transaction() as session:
        return await QUEUE.enqueue(session, mail, tenant_id=tenant_id)


async def jobs(platform: Database) -> list[Any]:
    async with platform.platform_transaction() as session:
        found = await session.execute(
            text("select *, run_at - now() as wait from jobs order by created_at, id")
        )
        return list(found)


async def job_of(platform: Database, *, attempt: int = 1) -> Job:
    """Return the newest job as a worker would be handed it in that attempt."""
    row = (await jobs(platform))[-1]
    return Job(row.id, row.tenant_id, row.kind, row.payload, attempt)


def delivery(platform: Database, transport: Transport | None) -> Delivery:
    return Delivery(platform, QUEUE, transport, sender="no-reply@mis.example")


async def test_the_job_of_a_mail_shows_nothing_of_it(platform: Database) -> None:
    """Catalogue 134."""
    await queued(platform, tenant_id=new_id())
    [row] = await jobs(platform)
    shown = json.dumps(row.payload)
    assert row.kind == MAIL
    assert not [word for word in ("ada", "acme", "sesame", "password") if word in shown]


async def test_a_mail_is_opened_for_its_own_tenant_only(platform: Database) -> None:
    """Catalogue 132."""
    tenant_id = new_id()
    await queued(platform, tenant_id=tenant_id)
    payload = (await job_of(platform)).payload
    assert QUEUE.opened(payload, tenant_id=tenant_id) == RESET
    for moved in (payload, payload | {"mail": str(new_id())}):
        with pytest.raises(Undecryptable):
            QUEUE.opened(moved, tenant_id=new_id())


async def test_a_sent_mail_leaves_nothing_in_its_job_and_is_not_sent_again(platform: Database) -> None:
    mail_id = await queued(platform)
    transport = Answers()
    sending = delivery(platform, transport)
    await sending.deliver(await job_of(platform))
    [row] = await jobs(platform)
    assert row.payload == {"mail": str(mail_id), "outcome": "sent"}
    # The worker died before it could say that the job is done, so it runs once more.
    await sending.deliver(await job_of(platform, attempt=2))
    [message] = transport.taken
    assert (message["To"], message["Message-ID"]) == ("ada@acme.example", f"<{mail_id}@mis.example>")


@pytest.mark.parametrize(
    ("mail", "transport", "outcome"),
    [
        (Mail("a@b.example", "x", "x", "x", datetime(2026, 1, 1, tzinfo=UTC)), Answers(), "expired"),
        (RESET, None, "dropped"),
    ],
)
async def test_what_cannot_go_any_more_is_let_go(
    platform: Database, mail: Mail, transport: Answers | None, outcome: str
) -> None:
    await queued(platform, mail)
    await delivery(platform, transport).deliver(await job_of(platform))
    [row] = await jobs(platform)
    assert row.payload["outcome"] == outcome
    assert "sealed" not in row.payload
    assert transport is None or transport.taken == []


@pytest.mark.parametrize(
    ("mail", "failures"),
    [(RESET, [MailRefused("The mail server answered 550.")]), (Mail("nobody", "x", "x", "x"), [])],
)
async def test_a_mail_that_nobody_will_ever_take_is_buried_without_its_words(
    platform: Database, mail: Mail, failures: list[Exception]
) -> None:
    mail_id = await queued(platform, mail)
    with pytest.raises(PermanentFailure) as failure:
        await delivery(platform, Answers(*failures)).deliver(await job_of(platform))
    [row] = await jobs(platform)
    assert row.payload == {"mail": str(mail_id), "outcome": "refused"}
    assert "ada" not in str(failure.value)


async def test_a_mail_outlives_a_server_that_is_away_for_a_day_and_then_stays_as_a_dead_letter(
    platform: Database,
) -> None:
    mail_id = await queued(platform)
    away = delivery(platform, Answers(*[MailUndelivered("away")] * 20))
    with pytest.raises(MailUndelivered):
        await away.deliver(await job_of(platform, attempt=1))
    for wait in LATER:
        before = await job_of(platform, attempt=MOST_ATTEMPTS)
        await away.deliver(before)
        rows = await jobs(platform)
        assert rows[-2].payload == {"mail": str(mail_id), "outcome": "put_off"}
        assert abs(rows[-1].wait - wait) < timedelta(minutes=1)
    with pytest.raises(MailUndelivered):
        await away.deliver(await job_of(platform, attempt=MOST_ATTEMPTS))
    transport = Answers()
    await delivery(platform, transport).deliver(await job_of(platform))
    assert [message["Message-ID"] for message in transport.taken] == [f"<{mail_id}@mis.example>"]


async def test_a_mail_that_was_erased_while_it_was_tried_is_not_put_off(platform: Database) -> None:
    await queued(platform)
    claimed = await job_of(platform, attempt=MOST_ATTEMPTS)
    async with platform.platform_transaction() as session:
        await session.execute(text("""update jobs set payload = '{"outcome": "erased"}'"""))
    await delivery(platform, Answers(MailUndelivered("away"))).deliver(claimed)
    [row] = await jobs(platform)
    assert row.payload == {"outcome": "erased"}


async def test_a_mail_does_not_outlive_the_transaction_of_its_cause(platform: Database) -> None:
    async with platform.platform_session() as session, session.begin() as transaction:
        await QUEUE.enqueue(session, RESET, tenant_id=None)
        await transaction.rollback()
    assert await jobs(platform) == []


async def test_a_folder_keeps_what_a_mail_program_opens_for_this_user_only(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@b.example", "c@d.example", "Grüße"
    message.set_content("Words.")
    await FolderTransport(folder).send(message)
    [file] = folder.iterdir()
    assert file.suffix == ".eml"
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert b"Words." in file.read_bytes()


def test_a_mail_server_is_preferred_to_a_folder(tmp_path: Path) -> None:
    assert isinstance(transport_for("smtp://mail.example", tmp_path), SmtpTransport)
    assert isinstance(transport_for(None, tmp_path), FolderTransport)
    assert transport_for(None, None) is None
