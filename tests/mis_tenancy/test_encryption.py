"""Secrets of a tenant: only the right key, at the right place, opens them."""

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from mis_tenancy.database import Database
from mis_tenancy.encryption import DataKey, TenantKeys, Undecryptable, Wrapping, key_version
from mis_tenancy.identifiers import new_id
from mis_tenancy.settings import MasterKeys, SettingsError
from mis_tenancy.tables import DataKeyRow
from tests.mis_tenancy.conftest import Teams
from tests.mis_tenancy.projects import Team

PURPOSE = "configuration:smtp.password"
TENANT = new_id()
KEY = DataKey(TENANT, 1, os.urandom(32))


def master_keys(*ids: str) -> MasterKeys:
    return MasterKeys.parse(
        ",".join(f"{key_id}:{base64.b64encode(os.urandom(32)).decode()}" for key_id in ids)
    )


@given(st.binary(max_size=300), st.text(max_size=30), st.integers(1, 2**32 - 1))
def test_what_is_encrypted_comes_back(plaintext: bytes, purpose: str, version: int) -> None:
    key = DataKey(TENANT, version, KEY.secret)
    sealed = key.encrypt(plaintext, purpose)
    assert key.decrypt(sealed, purpose) == plaintext
    assert key_version(sealed) == version
    assert not plaintext or len(plaintext) < 4 or plaintext not in sealed


@pytest.mark.parametrize(
    "key",
    [DataKey(new_id(), 1, KEY.secret), DataKey(TENANT, 2, KEY.secret), DataKey(TENANT, 1, os.urandom(32))],
    ids=["another tenant", "another version", "another secret"],
)
def test_a_ciphertext_opens_under_no_other_key(key: DataKey) -> None:
    """Catalogue 132."""
    with pytest.raises(Undecryptable):
        key.decrypt(KEY.encrypt(b"secret", PURPOSE), PURPOSE)


@pytest.mark.parametrize("purpose", ["configuration:smtp.user", "", PURPOSE + " ", PURPOSE[:-1]])
def test_a_ciphertext_opens_at_no_other_place(purpose: str) -> None:
    """Catalogue 132."""
    with pytest.raises(Undecryptable):
        KEY.decrypt(KEY.encrypt(b"secret", PURPOSE), purpose)


def test_every_flipped_bit_is_noticed() -> None:
    """Catalogue 132."""
    sealed = KEY.encrypt(b"secret", PURPOSE)
    for bit in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Undecryptable):
            KEY.decrypt(bytes(flipped), PURPOSE)


def test_every_truncation_is_noticed() -> None:
    """Catalogue 132."""
    sealed = KEY.encrypt(b"secret", PURPOSE)
    for length in range(len(sealed)):
        with pytest.raises(Undecryptable):
            KEY.decrypt(sealed[:length], PURPOSE)


def test_no_nonce_comes_twice() -> None:
    """Catalogue 132."""
    assert len({KEY.encrypt(b"", PURPOSE)[4:16] for _ in range(100_000)}) == 100_000


def test_a_key_does_not_show_itself() -> None:
    """Catalogue 134."""
    master = master_keys("m1")
    for value, secret in ((KEY, KEY.secret), (master, master.keys["m1"])):
        assert repr(secret) not in repr(value)
        assert secret.hex() not in repr(value)
        assert base64.b64encode(secret).decode() not in f"{value}"


def test_what_an_earlier_master_key_wrapped_opens_while_it_is_at_hand() -> None:
    old = master_keys("old")
    wrapped, key_id = Wrapping(old).wrap(b"secret", "x")
    both = MasterKeys({"new": os.urandom(32)} | dict(old.keys), "new")
    assert Wrapping(both).unwrap(wrapped, key_id, "x") == b"secret"
    assert Wrapping(both).wrap(b"secret", "x")[1] == "new"
    with pytest.raises(Undecryptable, match="'old'"):
        Wrapping(master_keys("new")).unwrap(wrapped, key_id, "x")
    with pytest.raises(Undecryptable):
        Wrapping(both).unwrap(wrapped, key_id, "y")


def test_a_data_keys_row_opens_in_its_own_place_only() -> None:
    wrapping = Wrapping(master_keys("m1"))
    row = wrapping.new_data_key(TENANT, 1)
    assert len(wrapping.open_data_key(row).secret) == 32
    for tenant_id, version in ((new_id(), 1), (TENANT, 2)):
        moved = DataKeyRow(
            tenant_id=tenant_id, version=version, wrapped_key=row.wrapped_key, master_key_id=row.master_key_id
        )
        with pytest.raises(Undecryptable):
            wrapping.open_data_key(moved)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " , ",
        "m1",
        "m1:",
        "m1:AAAA",
        ":" + "A" * 43 + "=",
        "m1:not base64!",
        "m1:{0},m1:{0}",
        "m1:{0};m2:{0}",
    ],
)
def test_unfit_master_keys_are_refused_with_their_fix(text: str) -> None:
    key = base64.b64encode(bytes(32)).decode()
    with pytest.raises(SettingsError, match="MIS_MASTER_KEYS"):
        MasterKeys.parse(text.format(key))


@pytest.fixture
def wrapping() -> Wrapping:
    return Wrapping(master_keys("m1"))


@pytest.fixture
def keys(wrapping: Wrapping) -> TenantKeys:
    return TenantKeys(wrapping)


async def keep(database: Database, row: DataKeyRow) -> None:
    async with database.transaction(row.tenant_id) as session:
        session.add(row)


async def test_a_tenant_encrypts_with_its_newest_key_and_opens_what_older_ones_made(
    doors: Database, team: Team, wrapping: Wrapping, keys: TenantKeys
) -> None:
    await keep(doors, wrapping.new_data_key(team.id, 1))
    async with doors.session(team.id) as session:
        first = (await keys.current(session)).encrypt(b"one", PURPOSE)
    await keep(doors, wrapping.new_data_key(team.id, 2))
    async with doors.session(team.id) as session:
        second = (await keys.current(session)).encrypt(b"two", PURPOSE)
        assert (key_version(first), key_version(second)) == (1, 2)
        assert await keys.decrypt(session, first, PURPOSE) == b"one"
        assert await TenantKeys(wrapping).decrypt(session, second, PURPOSE) == b"two"


async def test_a_ciphertext_moved_to_another_tenant_does_not_open(
    doors: Database, team: Team, teams: Teams, wrapping: Wrapping, keys: TenantKeys
) -> None:
    """Catalogue 132."""
    async with doors.session(teams.a.id) as own, doors.session(team.id) as other:
        for session, tenant_id in ((own, teams.a.id), (other, team.id)):
            session.add(wrapping.new_data_key(tenant_id, 1))
            await session.flush()
        sealed = (await keys.current(own)).encrypt(b"secret", PURPOSE)
        with pytest.raises(Undecryptable):
            await keys.decrypt(other, sealed, PURPOSE)
        assert await keys.decrypt(own, sealed, PURPOSE) == b"secret"


async def test_a_wrapped_key_copied_from_another_tenant_does_not_open(
    doors: Database, team: Team, teams: Teams, wrapping: Wrapping, keys: TenantKeys
) -> None:
    """Catalogue 132."""
    stolen = wrapping.new_data_key(teams.b.id, 1)
    columns = {
        "version": 1,
        "wrapped_key": stolen.wrapped_key,
        "master_key_id": "m1",
        "created_at": stolen.created_at,
    }
    async with doors.session(team.id) as session:
        await session.execute(insert(DataKeyRow).values(**columns))
        with pytest.raises(Undecryptable):
            await keys.current(session)


async def test_a_shredded_key_is_gone_once_it_is_forgotten(
    doors: Database, team: Team, wrapping: Wrapping, keys: TenantKeys
) -> None:
    await keep(doors, wrapping.new_data_key(team.id, 1))
    async with doors.session(team.id) as session:
        sealed = (await keys.current(session)).encrypt(b"secret", PURPOSE)
        await session.execute(delete(DataKeyRow))
        keys.forget(team.id)
        with pytest.raises(Undecryptable):
            await keys.decrypt(session, sealed, PURPOSE)
        with pytest.raises(Undecryptable):
            await keys.current(session)


async def test_a_flipped_version_finds_no_key(
    doors: Database, team: Team, wrapping: Wrapping, keys: TenantKeys
) -> None:
    await keep(doors, wrapping.new_data_key(team.id, 1))
    async with doors.session(team.id) as session:
        sealed = (await keys.current(session)).encrypt(b"secret", PURPOSE)
        with pytest.raises(Undecryptable):
            await keys.decrypt(session, b"\x00\x00\x00\x09" + sealed[4:], PURPOSE)
