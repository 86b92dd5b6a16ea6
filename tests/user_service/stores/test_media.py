"""Files through the API: stored as a stream, listed, handed out, deleted."""

import hashlib
from uuid import UUID, uuid4

import pytest

from mis_tenancy.tenant import Role
from tests.answers import fine, refused
from tests.auth_service.programs import add_api_key
from tests.suite import Suite
from tests.user_service.media import (
    MEDIA,
    MIB,
    NOTHING,
    Held,
    content,
    digest_of,
    held,
    in_pieces,
    send,
    stored,
)


async def test_a_raw_file_is_stored_and_comes_back_as_it_was(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    answer = await send(suite, tenant, b"hello", filename="Grüße.txt")
    document = fine(answer, 201)
    assert document == {
        "id": document["id"],
        "filename": "Grüße.txt",
        "contentType": "text/plain",
        "size": 5,
        "sha256": digest_of(b"hello"),
        "ownerId": str(tenant.owner.id),
        "createdAt": document["createdAt"],
    }
    assert answer.headers["location"] == f"{MEDIA}/{document['id']}"
    back = await content(suite, tenant, document["id"])
    assert (back.status_code, back.content) == (200, b"hello")
    read = await suite.client.get(answer.headers["location"], headers=tenant.auth)
    assert (fine(read), read.headers["etag"]) == (document, answer.headers["etag"])
    assert await held(suite, tenant) == Held(5, 1, 1, 0, 1)


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 12 * MIB + 7])
@pytest.mark.parametrize("way", ["raw", "chunked", "form"])
async def test_a_file_of_any_size_is_stored_whichever_way_it_comes(suite: Suite, size: int, way: str) -> None:
    tenant = await suite.tenant("custom")
    sent = hashlib.sha256(str(size).encode()).digest() * (size // 32 + 1)
    sent = sent[:size]
    if way == "form":
        files = {"file": ("a file.bin", sent, "application/x-thing")}
        answer = await suite.client.post(MEDIA, files=files, headers=tenant.auth)
    else:
        body = sent if way == "raw" else in_pieces(sent)
        answer = await send(suite, tenant, body, filename="a file.bin", Content_Type="application/x-thing")
    document = fine(answer, 201)
    assert (document["size"], document["sha256"]) == (size, digest_of(sent))
    assert (document["filename"], document["contentType"]) == ("a file.bin", "application/x-thing")
    back = await content(suite, tenant, document["id"])
    assert (back.status_code, back.content) == (200, sent)
    assert await held(suite, tenant) == Held(size, 1, 1, 0, 1)


async def test_the_list_is_paged_newest_first_and_narrowed_to_an_owner(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    member = await suite.user(tenant, Role.MEMBER)
    ids = [(await stored(suite, tenant, auth=who))["id"] for who in (tenant.auth, member.auth, tenant.auth)]
    first = await suite.client.get(MEDIA, params={"limit": 2}, headers=tenant.auth)
    assert [one["id"] for one in fine(first)] == [ids[2], ids[1]]
    second = await suite.client.get(first.links["next"]["url"], headers=tenant.auth)
    assert [one["id"] for one in fine(second)] == [ids[0]]
    own = await suite.client.get(MEDIA, params={"ownerId": str(member.id)}, headers=tenant.auth)
    assert [one["id"] for one in fine(own)] == [ids[1]]


async def test_members_delete_their_own_files_and_admins_anybodys(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    one, other = [await suite.user(tenant, Role.MEMBER) for _ in range(2)]
    viewer, admin = await suite.user(tenant, Role.VIEWER), await suite.user(tenant, Role.ADMIN)
    mine = (await stored(suite, tenant, auth=one.auth))["id"]
    theirs = (await stored(suite, tenant, auth=one.auth))["id"]
    for who, required in ((other, "users:write"), (viewer, "media:write")):
        answer = await suite.client.delete(f"{MEDIA}/{mine}", headers=who.auth)
        assert refused(answer, 403, "permission_denied")["required"] == required
    fine(await suite.client.delete(f"{MEDIA}/{mine}", headers=one.auth), 204)
    fine(await suite.client.delete(f"{MEDIA}/{theirs}", headers=admin.auth), 204)
    refused(await suite.client.get(f"{MEDIA}/{mine}", headers=one.auth), 404, "media_not_found")
    refused(await content(suite, tenant, theirs), 404, "media_not_found")
    refused(await send(suite, tenant, auth=viewer.auth), 403, "permission_denied")
    assert (await held(suite, tenant)).rows == 0
    assert (await held(suite, tenant)).storage_bytes == 0


async def test_a_program_deletes_what_it_has_uploaded_and_owns_nothing(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    key = (await add_api_key(suite, tenant, "media:read", "media:write"))["key"]
    reader = (await add_api_key(suite, tenant, "media:read"))["key"]
    program, reading = [{"Authorization": f"Bearer {one}"} for one in (key, reader)]
    own, theirs = await stored(suite, tenant, auth=program), await stored(suite, tenant)
    assert own["ownerId"] is None
    refused(await send(suite, tenant, auth=reading), 403, "permission_denied")
    for path in (f"{MEDIA}/{own['id']}", f"{MEDIA}/{own['id']}/content"):
        assert (await suite.client.get(path, headers=reading)).status_code == 200
    for headers, media_id in ((reading, own["id"]), (program, theirs["id"])):
        answer = await suite.client.delete(f"{MEDIA}/{media_id}", headers=headers)
        refused(answer, 403, "permission_denied")
    fine(await suite.client.delete(f"{MEDIA}/{own['id']}", headers=program), 204)


async def test_a_file_stays_when_its_owner_leaves_and_is_then_the_tenants(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    member = await suite.user(tenant, Role.MEMBER)
    kept = await stored(suite, tenant, auth=member.auth)
    before = await suite.client.get(f"{MEDIA}/{kept['id']}", headers=tenant.auth)
    fine(await suite.client.delete(f"/api/v1/users/{member.id}", headers=tenant.auth), 204)
    after = await suite.client.get(f"{MEDIA}/{kept['id']}", headers=tenant.auth)
    assert fine(after) == kept | {"ownerId": None}
    assert after.headers["etag"] != before.headers["etag"]
    assert (await content(suite, tenant, kept["id"])).content == b"hello"


async def test_a_deletion_holds_to_the_version_that_is_named(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    path = f"{MEDIA}/{(await stored(suite, tenant))['id']}"
    stale = await suite.client.delete(path, headers=tenant.auth | {"If-Match": '"other"'})
    refused(stale, 412, "precondition_failed")
    current = (await suite.client.get(path, headers=tenant.auth)).headers["etag"]
    fine(await suite.client.delete(path, headers=tenant.auth | {"If-Match": current}), 204)


@pytest.mark.parametrize("media_id", [str(UUID(int=7 << 76 | 1)), "nonsense", "%2e%2e"])
async def test_what_is_no_file_of_the_tenant_is_not_found(suite: Suite, media_id: str) -> None:
    """Catalogue 93."""
    tenant = await suite.tenant("custom")
    for path in (f"{MEDIA}/{media_id}", f"{MEDIA}/{media_id}/content"):
        answer = await suite.client.get(path, headers=tenant.auth)
        assert answer.status_code == 404, answer.text
    theirs = (await stored(suite, await suite.tenant("custom")))["id"]
    for path in (f"{MEDIA}/{theirs}", f"{MEDIA}/{theirs}/content"):
        refused(await suite.client.get(path, headers=tenant.auth), 404, "media_not_found")
    refused(await suite.client.delete(f"{MEDIA}/{theirs}", headers=tenant.auth), 404, "media_not_found")


async def test_an_upload_that_is_repeated_with_its_key_is_stored_once(suite: Suite) -> None:
    """Catalogue 137."""
    tenant = await suite.tenant("custom")
    key = f"key-{uuid4().hex}"
    first = await send(suite, tenant, Idempotency_Key=key)
    again = await send(suite, tenant, Idempotency_Key=key)
    assert (fine(again, 201), again.headers["idempotent-replayed"]) == (fine(first, 201), "true")
    longer = await send(suite, tenant, b"hello!", Idempotency_Key=key)
    refused(longer, 422, "idempotency_key_reused")
    renamed = await send(suite, tenant, filename="other.txt", Idempotency_Key=key)
    refused(renamed, 422, "idempotency_key_reused")
    assert await held(suite, tenant) == Held(5, 1, 1, 0, 1)


async def test_usage_shows_what_is_stored(suite: Suite) -> None:
    tenant = await suite.tenant("custom", maxStorage=3)
    await stored(suite, tenant)
    await stored(suite, tenant, b"more")
    usage = await suite.client.get(f"/api/v1/tenants/{tenant.id}/usage", headers=tenant.auth)
    assert fine(usage)["storage"] == {"usedBytes": 9, "limitBytes": 3 * 2**30, "files": 2}


async def test_a_tenant_without_files_holds_nothing(suite: Suite) -> None:
    assert await held(suite, await suite.tenant("custom")) == NOTHING
