"""The spool's files: writing, reading back, limits, damage and locks. No database is needed here."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mis_tenancy.errors import AuditUnavailable
from mis_tenancy.identifiers import new_id
from mis_tenancy.origins.sealing import Origin
from mis_tenancy.records.record import (
    OUTCOME_BYTES,
    AuditRecord,
    Line,
    Outcome,
    cleaned,
)
from mis_tenancy.settings import SettingsError
from mis_tenancy.spool.backlog import OrphanBacklog, OwnBacklog
from mis_tenancy.spool.lock import SpoolLock
from mis_tenancy.spool.reading import Merge, SpoolReader
from mis_tenancy.spool.writing import Spool, spool_directories
from tests.mis_tenancy.spool_fixtures import LINES, request_of

TENANT = new_id()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> Iterator[Spool]:
    spool = Spool(tmp_path, 2**20, "tests", LINES, clock=clock)
    spool.start()
    yield spool
    spool.close(drained=False)


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Make the kernel itself cut a write short, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def segments(spool: Spool) -> list[str]:
    return sorted(name for name in os.listdir(spool.home) if name != "lock")


def outcomes(records: list[AuditRecord]) -> dict[UUID, str | None]:
    assert len(records) == len({record.id for record in records})
    return {record.id: record.outcome for record in records}


def test_an_admission_and_its_outcome_come_back_as_one_record(spool: Spool) -> None:
    record = request_of(
        TENANT,
        actor=new_id(),
        actor_kind="member",
        origin=Origin("192.0.2.1", "curl/8.9"),
        sources=("token", "header_id"),
        counted=True,
    )
    spool.admit(record)
    spool.finish(record.id, 200, "success", 1234)
    (whole,) = SpoolReader(spool.home, LINES).read(10)
    assert whole == replace(record, status=200, outcome="success", duration_us=1234, sources=whole.sources)
    assert list(whole.sources) == ["token", "header_id"]


def test_a_note_is_whole_at_once(spool: Spool) -> None:
    note = AuditRecord(tenant_id=TENANT, kind="security", action="tenant_mismatch", outcome="refused")
    spool.note(note)
    (whole,) = SpoolReader(spool.home, LINES).read(10)
    assert (whole.id, whole.kind, whole.outcome) == (note.id, "security", "refused")


def test_an_outcome_is_told_once_and_only_of_what_was_admitted(spool: Spool) -> None:
    record = request_of(TENANT)
    spool.finish(new_id(), 200, "success", 1)
    spool.admit(record)
    spool.finish(record.id, 200, "success", 1)
    spool.finish(record.id, 500, "error", 2)
    assert outcomes(SpoolReader(spool.home, LINES).read(10)) == {record.id: "success"}


@pytest.mark.parametrize(
    "text",
    [
        'curl/8\n{"finish":{"id":"0"}}',
        "\x00\x1b[31mred",
        "\u202egnp.exe",
        "half\ud800a pair",
        "x" * 5000,
        "\N{FULLWIDTH LATIN SMALL LETTER A}" * 5000,
    ],
)
def test_what_a_client_sent_can_neither_break_a_line_nor_swell_it(text: str) -> None:
    """Catalogue 135."""
    record = request_of(
        TENANT, action=text, resource=text, origin=Origin(text, text), request_id=text, sources=(text,) * 40
    )
    line = LINES.admission(record)
    assert line.count(b"\n") == 1
    assert len(line) < 16_000
    parsed = LINES.parse(line[:-1])
    assert parsed is not None
    assert parsed.admit is not None
    kept = parsed.admit
    assert kept.origin is not None
    assert (kept.origin.user_agent or "").isprintable()
    assert (len(kept.origin.ip or ""), len(kept.origin.user_agent or "")) <= (64, 256)
    assert kept == replace(cleaned(record), sources=kept.sources)


def test_a_clean_record_is_not_copied() -> None:
    record = request_of(TENANT, origin=Origin(None, "Mozilla/5.0 (ünïcode)"), sources=("token",))
    assert cleaned(record) is record


@given(
    outcome=st.text(max_size=80), status=st.none() | st.integers(0, 32767), duration=st.integers(0, 2**63 - 1)
)
def test_an_outcome_fits_the_room_that_is_kept_for_it(
    outcome: str, status: int | None, duration: int
) -> None:
    line = LINES.outcome(Outcome(new_id(), status, outcome, duration))
    assert len(line) <= OUTCOME_BYTES
    assert LINES.parse(line[:-1]) is not None


def test_a_full_spool_admits_nobody_but_still_takes_every_outcome(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 20_000, "tests", LINES)
    spool.start()
    admitted = []
    while spool.bytes + spool.open * OUTCOME_BYTES < 19_000:
        record = request_of(TENANT)
        spool.admit(record)
        admitted.append(record.id)
    with pytest.raises(AuditUnavailable) as refusal:
        spool.admit(
            request_of(TENANT, resource="x" * 512, origin=Origin("::1", "x" * 256), sources=["x" * 200] * 9)
        )
    assert (refusal.value.status, refusal.value.code) == (503, "audit_unavailable")
    with pytest.raises(AuditUnavailable):
        spool.note(
            request_of(TENANT, resource="x" * 512, origin=Origin("::1", "x" * 256), request_id="x" * 128)
        )
    for identifier in admitted:
        spool.finish(identifier, 200, "success", 1)
    assert len(admitted) > 10
    assert spool.bytes <= 20_000
    assert outcomes(SpoolReader(spool.home, LINES).read(1000)) == dict.fromkeys(admitted, "success")
    spool.close(drained=False)


def test_room_comes_back_when_segments_are_drained(tmp_path: Path, clock: Clock) -> None:
    spool = Spool(tmp_path, 4_000, "tests", LINES, clock=clock)
    spool.start()
    backlog = OwnBacklog(spool)
    told = 0
    for _ in range(100):
        record = request_of(TENANT)
        spool.admit(record)
        spool.finish(record.id, 200, "success", 1)
        clock.now += 1
        told += len(backlog.take(100))
        backlog.settle()
    assert told == 100
    spool.close(drained=True)
    assert spool_directories(tmp_path) == []


def test_a_line_that_the_disk_takes_only_in_part_is_taken_back(spool: Spool) -> None:
    first, second, third = (request_of(TENANT) for _ in range(3))
    spool.admit(first)
    with files_no_larger_than(spool.bytes + 100), pytest.raises(AuditUnavailable):
        spool.admit(second)
    spool.admit(third)
    reader = SpoolReader(spool.home, LINES)
    reader.read(10)
    assert {record.id for record in reader.merge.give_up()} == {first.id, third.id}
    assert reader.damaged == 0
    assert spool.written == 2


def test_what_cannot_even_be_taken_back_ends_its_segment(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int, size: int) -> None:
        raise OSError

    first, second, third = (request_of(TENANT) for _ in range(3))
    spool.admit(first)
    monkeypatch.setattr(os, "ftruncate", fail)
    with files_no_larger_than(spool.bytes + 100), pytest.raises(AuditUnavailable):
        spool.admit(second)
    spool.admit(third)
    reader = SpoolReader(spool.home, LINES)
    reader.read(10)
    assert {record.id for record in reader.merge.give_up()} == {first.id, third.id}
    assert len(segments(spool)) == 2


def test_an_outcome_that_a_full_disk_refused_is_written_later(spool: Spool) -> None:
    record = request_of(TENANT)
    backlog = OwnBacklog(spool)
    spool.admit(record)
    with files_no_larger_than(spool.bytes):
        with pytest.raises(AuditUnavailable):
            spool.finish(record.id, 201, "success", 1)
        assert backlog.take(10) == []
        assert spool.owes
    assert outcomes(backlog.take(10)) == {record.id: "success"}
    assert not spool.owes


def test_a_torn_last_line_is_passed_over(spool: Spool) -> None:
    first, second = request_of(TENANT), request_of(TENANT)
    spool.admit(first)
    spool.finish(first.id, 200, "success", 1)
    spool.close(drained=False)
    with (spool.home / segments(spool)[-1]).open("ab") as file:
        file.write(LINES.admission(second)[:-20])
    backlog = OrphanBacklog(spool.home, LINES)
    assert outcomes(backlog.take(10)) == {first.id: "success"}
    assert backlog.is_empty


@pytest.mark.parametrize(
    "damage", [b"\x00" * 600_000 + b"\n", b"{}}\n", b'{"admit":{"id":7}}\n', b"\xff\xfe\n"]
)
def test_a_damaged_stretch_costs_only_itself(spool: Spool, damage: bytes) -> None:
    before, after = request_of(TENANT, outcome="x"), request_of(TENANT, outcome="x")
    spool.note(before)
    with (spool.home / segments(spool)[-1]).open("ab") as file:
        file.write(damage)
    spool.note(after)
    reader = SpoolReader(spool.home, LINES)
    assert {record.id for record in reader.read(10)} == {before.id, after.id}
    assert reader.damaged >= 1


def test_segments_end_by_age_and_by_size(tmp_path: Path, clock: Clock) -> None:
    spool = Spool(tmp_path, 2**20, "tests", LINES, segment_bytes=500, clock=clock)
    spool.start()
    spool.note(request_of(TENANT))
    clock.now = 1.5
    spool.note(request_of(TENANT))
    assert len(segments(spool)) == 2
    for _ in range(20):
        spool.note(request_of(TENANT))
    assert len(segments(spool)) > 4
    assert len(SpoolReader(spool.home, LINES).read(100)) == 22
    spool.close(drained=False)


def test_a_request_that_lasts_all_day_pins_no_segment(spool: Spool, clock: Clock) -> None:
    backlog = OwnBacklog(spool)
    long_one = request_of(TENANT)
    spool.admit(long_one)
    told = []
    for _ in range(200):
        short_one = request_of(TENANT)
        spool.admit(short_one)
        spool.finish(short_one.id, 200, "success", 1)
        told += backlog.take(100)
        backlog.settle()
        clock.now += 2
        assert len(segments(spool)) < 20
    assert len(told) == 200
    spool.finish(long_one.id, 200, "success", 86_400_000_000)
    assert outcomes(backlog.take(100)) == {long_one.id: "success"}
    assert len(backlog.reader.merge) == 0


def test_what_was_carried_over_reaches_a_successor_once(spool: Spool, clock: Clock) -> None:
    backlog = OwnBacklog(spool)
    long_ones = [request_of(TENANT) for _ in range(300)]
    for record in long_ones:
        spool.admit(record)
    for _ in range(30):
        clock.now += 2
        spool.note(request_of(TENANT, outcome="x"))
        backlog.take(1000)
        # The process dies before it deletes what it has carried over, so every copy is still there.
    spool.finish(long_ones[0].id, 200, "success", 1)
    spool.close(drained=False)
    told = outcomes(
        [record for record in OrphanBacklog(spool.home, LINES).take(1000) if record.outcome != "x"]
    )
    assert told == {record.id: "unknown" for record in long_ones} | {long_ones[0].id: "success"}


def test_no_admission_is_carried_past_an_outcome_that_is_not_read_yet(spool: Spool, clock: Clock) -> None:
    backlog = OwnBacklog(spool)
    record = request_of(TENANT)
    spool.admit(record)
    for _ in range(30):
        clock.now += 2
        spool.note(request_of(TENANT, outcome="x"))
    spool.finish(record.id, 200, "success", 1)
    assert len(backlog.take(20)) == 20
    told = outcomes(backlog.take(100))
    assert told[record.id] == "success"
    assert len(backlog.reader.merge) == 0


def test_reading_stops_at_the_limit_and_goes_on_from_there(spool: Spool) -> None:
    records = [request_of(TENANT, outcome="x") for _ in range(25)]
    for record in records:
        spool.note(record)
    reader = SpoolReader(spool.home, LINES)
    told = [reader.read(10) for _ in range(4)]
    assert [len(some) for some in told] == [10, 10, 5, 0]
    assert [record.id for some in told for record in some] == [record.id for record in records]


Step = tuple[str, int]


@given(st.lists(st.tuples(st.sampled_from(["admit", "finish", "note", "next segment"]), st.integers(0, 7))))
def test_merging_tells_each_request_once_whatever_the_order(steps: list[Step]) -> None:
    records = [request_of(TENANT, id=new_id(number)) for number in range(8)]
    merge, model, told, segment = Merge(), dict[UUID, str](), list[UUID](), 0
    for kind, number in steps:
        record = records[number]
        if kind == "next segment":
            segment += 1
            continue
        line = {
            "admit": Line(admit=record),
            "finish": Line(finish=Outcome(record.id, 200, "success", number)),
            "note": Line(note=replace(record, id=new_id())),
        }[kind]
        whole = merge.take(line, str(segment))
        if kind == "admit":
            assert whole is None
            model[record.id] = str(segment)
        elif kind == "note":
            assert whole == line.note
        elif model.pop(record.id, None) is None:
            assert whole is None
        else:
            assert whole == replace(record, status=200, outcome="success", duration_us=number)
            told.append(record.id)
    for name in map(str, range(segment + 1)):
        assert merge.holds(name) == (name in model.values())
        held = {key for key, where in model.items() if where == name}
        assert {record.id for record in merge.open_in([name])} == held
    assert outcomes(merge.give_up()) == dict.fromkeys(model, "unknown")


Act = tuple[str, int]
_ACTS = st.tuples(st.sampled_from(["admit", "finish", "note", "wait", "drain", "drain"]), st.integers(1, 5))


@settings(max_examples=60, deadline=None)
@given(st.lists(_ACTS, max_size=80))
def test_drained_while_written_and_then_adopted_each_request_is_told_once(acts: list[Act]) -> None:
    clock, told = Clock(), list[AuditRecord]()
    unfinished, expected = list[UUID](), dict[UUID, str]()
    with TemporaryDirectory() as directory:
        spool = Spool(Path(directory), ample := 2_000_000, "tests", LINES, segment_bytes=1500, clock=clock)
        spool.start()
        backlog = OwnBacklog(spool)
        for kind, number in acts:
            if kind == "admit":
                for _ in range(number):
                    record = request_of(TENANT)
                    spool.admit(record)
                    unfinished.append(record.id)
                    expected[record.id] = "unknown"
            elif kind == "finish" and unfinished:
                identifier = unfinished.pop(number % len(unfinished))
                spool.finish(identifier, 200, "success", 1)
                expected[identifier] = "success"
            elif kind == "note":
                note = request_of(TENANT, outcome="noted")
                spool.note(note)
                expected[note.id] = "noted"
            elif kind == "wait":
                clock.now += number
            elif kind == "drain":
                # Without room, every open admission is carried over that can be.
                spool.limit_bytes = 0
                told += backlog.take(number)
                spool.limit_bytes = ample
                backlog.settle()
        told_before = outcomes(told)
        told += backlog.take(10_000)
        assert outcomes(told).items() >= {k: v for k, v in expected.items() if v != "unknown"}.items()
        assert len(backlog.reader.merge) == len(unfinished)
        spool.close(drained=False)
        told_after = outcomes(OrphanBacklog(spool.home, LINES).take(10_000))
    # What stands in segments not yet deleted is told again, and Postgres knows it by its id. None is missing.
    missing = {key: value for key, value in expected.items() if key not in told_before}
    assert {key: value for key, value in told_after.items() if key not in told_before} == missing
    assert all(expected[key] == value for key, value in told_before.items())


def test_a_living_process_keeps_its_spool_and_a_dead_one_loses_it(spool: Spool, tmp_path: Path) -> None:
    assert SpoolLock.claim(spool.home) is None
    spool.close(drained=False)
    lock = SpoolLock.claim(spool.home)
    assert lock is not None
    assert SpoolLock.claim(spool.home) is None
    lock.release()


def test_a_lock_whose_directory_went_away_meanwhile_is_worth_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "tests-1-00"
    home.mkdir()
    first = SpoolLock.claim(home)
    assert first is not None
    real = os.open

    def open_then_lose(path: Path, *arguments: int) -> int:
        descriptor = real(path, *arguments)
        assert first is not None
        first.remove()
        return descriptor

    monkeypatch.setattr(os, "open", open_then_lose)
    assert SpoolLock.claim(home) is None
    assert not home.exists()


def test_a_start_survives_an_adopter_that_is_quicker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, thefts = SpoolLock.claim.__func__, list[Path]()  # type: ignore[attr-defined]

    def claim(home: Path) -> SpoolLock | None:
        if not thefts:
            lock = real(SpoolLock, home)
            thefts.append(home)
            lock.remove()
            return None
        return real(SpoolLock, home)  # type: ignore[no-any-return]

    monkeypatch.setattr(SpoolLock, "claim", claim)
    spool = Spool(tmp_path, 2**20, "tests", LINES)
    spool.start()
    assert spool_directories(tmp_path) == [spool.home]
    assert thefts != [spool.home]
    spool.close(drained=True)


def test_the_lock_falls_with_its_process(tmp_path: Path) -> None:
    home = tmp_path / "tests-1-00"
    home.mkdir()
    program = (
        "import os, signal, pathlib; from mis_tenancy.spool.lock import SpoolLock; "
        f"print(SpoolLock.claim(pathlib.Path({str(home)!r})) is not None, flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)  # noqa: S603  # our own
    assert done.stdout == b"True\n"
    lock = SpoolLock.claim(home)
    assert lock is not None
    lock.remove()
    assert not home.exists()


def test_a_lost_directory_costs_only_what_was_not_read(spool: Spool, clock: Clock) -> None:
    backlog = OwnBacklog(spool)
    backlog.start()
    running, read, unread, later = (request_of(TENANT) for _ in range(4))
    spool.admit(running)
    spool.note(read)
    assert outcomes(backlog.take(10)) == {read.id: None}
    spool.note(unread)
    lost = spool.home
    shutil.rmtree(lost)
    assert backlog.take(10) == []
    assert (spool.home.parent, spool.home != lost, backlog.lost) == (lost.parent, True, 1)
    spool.note(later)
    spool.finish(running.id, 200, "success", 5)
    assert outcomes(backlog.take(10)) == {later.id: None, running.id: "success"}
    assert spool.open == len(backlog.reader.merge) == 0
    assert SpoolLock.claim(spool.home) is None


def test_what_was_open_in_a_lost_directory_reaches_a_successor(spool: Spool, clock: Clock) -> None:
    backlog = OwnBacklog(spool)
    backlog.start()
    running = request_of(TENANT)
    spool.admit(running)
    backlog.take(10)
    shutil.rmtree(spool.home)
    # The writer may notice first.
    clock.now += 2
    spool.note(request_of(TENANT))
    assert len(backlog.take(10)) == 1
    spool.close(drained=False)
    assert outcomes(OrphanBacklog(spool.home, LINES).take(10))[running.id] == "unknown"


def test_an_outcome_that_the_new_directory_begins_with_ends_its_request(spool: Spool, clock: Clock) -> None:
    backlog = OwnBacklog(spool)
    backlog.start()
    running = request_of(TENANT)
    spool.admit(running)
    backlog.take(10)
    shutil.rmtree(spool.home)
    clock.now += 2
    spool.finish(running.id, 200, "success", 5)
    assert outcomes(backlog.take(10)) == {running.id: "success"}
    assert backlog.take(10) == []
    assert (len(backlog.reader.merge), backlog.lost) == (0, 0)


def test_a_directory_that_cannot_be_made_anew_serves_nobody(spool: Spool, clock: Clock) -> None:
    shutil.rmtree(spool.directory)
    spool.directory.write_text("in the way")
    clock.now += 2
    for _ in range(2):
        with pytest.raises(AuditUnavailable):
            spool.admit(request_of(TENANT))
    spool.directory.unlink()
    spool.admit(request_of(TENANT))
    assert segments(spool) == [spool.position[0]]


def test_files_are_for_the_service_alone(spool: Spool) -> None:
    assert spool.home.stat().st_mode & 0o077 == 0
    assert all((spool.home / name).stat().st_mode & 0o077 == 0 for name in os.listdir(spool.home))


def test_a_directory_that_cannot_be_written_to_is_named_at_start(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(SettingsError, match="MIS_SPOOL_DIR"):
        Spool(blocked, 2**20, "tests", LINES).start()
    with pytest.raises(SettingsError, match="service name"):
        Spool(tmp_path, 2**20, "../etc", LINES)


def test_a_closed_spool_serves_nobody(spool: Spool) -> None:
    spool.close(drained=False)
    with pytest.raises(AuditUnavailable):
        spool.admit(request_of(TENANT))
    spool.rotate_if_due()
