"""The way out against receivers on loopback that lie, redirect, drag and flood."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mis_http.outbound import reach as reach_module
from mis_http.outbound.destinations import destination_of
from mis_http.outbound.reach import NameUnresolved, Reach
from tenant_service.webhooks.schedule import Outcome
from tenant_service.webhooks.transport import MOST_ANSWER_BYTES, TOTAL_SECONDS, Transport
from tests.certificates import Authority
from tests.tenant_service.receiver import Receiver, Reply, receiving

HOST = "hooks.example.com"


class Names:
    """A name server that says what the test wants, one answer after the other."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        if not self.answers:
            raise NameUnresolved(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def send(transport: Transport, *urls: str) -> list[Outcome]:
    async with transport.wire() as wire:
        return [await wire.post(destination_of(url, allow_private=True), {}, b"{}") for url in urls]


def local(names: Names | None = None, *, total_seconds: float = TOTAL_SECONDS) -> Transport:
    """Return a transport that may reach loopback, where `names` leads it."""
    reach = Reach(allow_private=True, resolve=names or Names(["127.0.0.1"]))
    return Transport(reach, total_seconds=total_seconds)


async def test_a_message_goes_out_as_one_post_with_its_headers(receiver: Receiver) -> None:
    async with local().wire() as wire:
        destination = destination_of(receiver.url("/in?a=b%20c", HOST), allow_private=True)
        outcome = await wire.post(destination, {"webhook-id": "1"}, b'{"a":1}')
    assert outcome == Outcome(status=204)
    (request,) = receiver.at("/in?a=b%20c")
    assert request.body == b'{"a":1}'
    assert request.headers == {
        "host": f"{HOST}:{receiver.port}",
        "content-length": "7",
        "webhook-id": "1",
    }


async def test_messages_of_one_turn_share_a_connection_and_its_look_up(receiver: Receiver) -> None:
    names = Names(["127.0.0.1"])
    outcomes = await send(local(names), *[receiver.url("/in", HOST)] * 3)
    assert [outcome.status for outcome in outcomes] == [204, 204, 204]
    assert (names.asked, receiver.connections) == (1, 1)


async def test_a_name_that_turns_private_after_it_was_saved_is_not_connected_to(receiver: Receiver) -> None:
    """Catalogue 121."""
    names = Names(["93.184.215.14"], ["127.0.0.1"])
    reach = Reach(allow_private=False, resolve=names)
    assert await reach.addresses(HOST, receiver.port) == ["93.184.215.14"]
    url = receiver.url("/in", HOST)
    assert await send(Transport(reach), url) == [Outcome(error="address_refused")]
    assert receiver.connections == 0


@contextmanager
def public(*addresses: str) -> Iterator[None]:
    """Let some addresses of loopback count as public ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reach_module, "is_public", lambda address: address in addresses)
        yield


async def test_the_connection_goes_to_the_address_that_was_judged(receiver: Receiver) -> None:
    """Catalogue 121: whatever the name server says a moment later, nobody asks it again."""
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    with public("127.0.0.1"):
        url = receiver.url("/in", HOST)
        assert await send(Transport(Reach(allow_private=False, resolve=names)), url) == [Outcome(status=204)]
    assert names.asked == 1


async def test_of_mixed_answers_only_the_public_address_is_tried(receiver: Receiver) -> None:
    """Catalogue 121."""
    names = Names(["127.0.0.2", "127.0.0.1", "::1"])
    with public("127.0.0.1"):
        url = receiver.url("/in", HOST)
        assert await send(Transport(Reach(allow_private=False, resolve=names)), url) == [Outcome(status=204)]


async def test_a_second_address_serves_where_the_first_does_not(receiver: Receiver) -> None:
    assert await send(local(Names(["127.0.0.2", "127.0.0.1"])), receiver.url("/in", HOST)) == [
        Outcome(status=204)
    ]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_not_followed(receiver: Receiver, status: int) -> None:
    """Catalogue 121."""
    receiver.answers["/in"] = lambda _: Reply(status, {"location": receiver.url("/elsewhere")})
    assert await send(local(), receiver.url("/in")) == [Outcome(status=status)]
    assert receiver.at("/elsewhere") == []


async def test_a_long_answer_is_cut(receiver: Receiver) -> None:
    """Catalogue 122."""
    huge = 64 * 1024 * 1024
    receiver.answers["/in"] = lambda _: Reply(200, {"content-length": str(10**10)}, b"x" * huge)
    first, second = await send(local(), receiver.url("/in"), receiver.url("/next"))
    assert (first.status, second.status) == (200, 204)
    # What the kernel's buffers hold comes on top of what we read.
    assert receiver.sent_bytes < huge / 2
    assert receiver.connections == 2
    assert MOST_ANSWER_BYTES == 64 * 1024


async def test_a_bomb_is_not_unpacked(receiver: Receiver) -> None:
    """Catalogue 122."""
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < MOST_ANSWER_BYTES
    receiver.answers["/in"] = lambda _: Reply(200, {"content-encoding": "gzip"}, bomb)
    assert await send(local(), receiver.url("/in")) == [Outcome(status=200)]


async def test_a_receiver_that_says_nothing_is_given_up(receiver: Receiver) -> None:
    """Catalogue 122."""
    receiver.answers["/in"] = lambda _: Reply(hang=True)
    assert await send(local(total_seconds=0.2), receiver.url("/in")) == [Outcome(error="timeout")]


async def test_an_answer_that_drips_counts_by_its_status_and_holds_nobody_up(receiver: Receiver) -> None:
    """Catalogue 122."""
    receiver.answers["/in"] = lambda _: Reply(200, {}, b"x" * 1000, pace=1.0)
    async with asyncio.timeout(10):
        assert await send(local(), receiver.url("/in")) == [Outcome(status=200)]


async def test_what_goes_wrong_on_the_way_is_said_in_a_word(receiver: Receiver) -> None:
    closed = receiver.url("/in").replace(str(receiver.port), "1")
    assert await send(local(), closed.replace(":1/", ":65533/")) == [Outcome(error="connection_failed")]
    assert await send(local(Names()), receiver.url("/in", HOST)) == [Outcome(error="name_unresolved")]


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 two hundred\r\n\r\n", b"\x16\x03\x01", b"SSH-2.0-x\r\n\r\n", b""]
)
async def test_what_is_no_http_is_a_failure(said: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        (outcome,) = await send(local(), f"http://127.0.0.1:{port}/")
    assert outcome.error in ("answer_malformed", "connection_lost")


async def test_certificates_are_verified_against_the_hosts_name_not_the_address(tmp_path: Path) -> None:
    """Catalogue 121."""
    authority = Authority(tmp_path)
    trust = authority.trusting
    reach = Reach(allow_private=True, resolve=Names(["127.0.0.1"]))
    async with receiving(authority.serving(HOST)) as receiver:
        right, wrong = receiver.url("/in", HOST), receiver.url("/in", "other.example.com")
        assert await send(Transport(reach, trust), right) == [Outcome(status=204)]
        refused = [Outcome(error="certificate_refused")]
        assert await send(Transport(reach, trust), wrong) == refused
        assert await send(Transport(reach), right) == refused
        assert len(receiver.at("/in")) == 1
