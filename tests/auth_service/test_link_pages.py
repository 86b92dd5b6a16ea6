"""The pages that mailed links lead to."""

import base64
import re
from hashlib import sha256

import pytest

from auth_service.passwords.letters import RESET_PATH
from mis_accounts.invitations import ACCEPT_PATH
from tests.suite import Suite
from user_service.users.addresses import CONFIRM_PATH


@pytest.mark.parametrize(
    ("path", "call", "fields"),
    [
        (ACCEPT_PATH, "/api/v1/auth/invitations/accept", ["name", "password"]),
        (CONFIRM_PATH, "/api/v1/auth/email/confirm", []),
        (RESET_PATH, "/api/v1/auth/password/reset", ["newPassword"]),
    ],
)
async def test_a_link_leads_to_a_form_for_its_route(
    suite: Suite, path: str, call: str, fields: list[str]
) -> None:
    page = await suite.client.get(path, params={"token": "</script><b>"})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f'data-call="{call}"' in page.text
    assert re.findall(r'<input[^>]* name="(\w+)"', page.text) == fields
    # The page is the same for everybody: what the address holds is not in it.
    assert "<b>" not in page.text


@pytest.mark.parametrize("path", [ACCEPT_PATH, CONFIRM_PATH, RESET_PATH])
async def test_a_page_with_a_token_in_its_address_tells_nobody_of_it(suite: Suite, path: str) -> None:
    page = await suite.client.get(path)
    script = re.search(r"<script>(.*)</script>", page.text, re.S)
    assert script is not None
    digest = base64.b64encode(sha256(script[1].encode()).digest()).decode()
    policy = page.headers["content-security-policy"]
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
