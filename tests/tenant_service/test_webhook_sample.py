"""The receiver's lines in docs/webhooks.md, run on messages that the suite has signed."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.answers import fine
from tests.tenant_service.receiver import Received
from tests.tenant_service.webhook_rig import Post

PAGE = Path(__file__).resolve().parents[2] / "docs" / "webhooks.md"

Verified = Callable[[str, dict[str, str], bytes], dict[str, Any]]


@pytest.fixture(scope="module")
def sample() -> dict[str, Any]:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102  # the page's own lines are what is tested
    return names


@pytest.fixture(scope="module")
async def sent(post: Post) -> tuple[Received, str, str]:
    """A message, and the two secrets that it was signed with."""
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/sample")
    new = fine(await post.ask(hook, "PATCH", json={"rotateSecret": True}))["secret"]
    async with post.working():
        await post.add_user(tenant)
        (request,) = await post.receiver.wait_for("/sample")
    return request, hook.secret, new


def test_it_accepts_what_we_send_by_the_new_secret_and_by_the_one_before(
    sample: dict[str, Any], sent: tuple[Received, str, str]
) -> None:
    """Catalogue 123."""
    request, *secrets = sent
    verified: Verified = sample["verified"]
    for secret in secrets:
        assert verified(secret, request.headers, request.body) == request.message


@pytest.mark.parametrize(
    "forged",
    [
        {"body": b'{"type":"user.created"}'},
        {"webhook-id": "019a2148-5351-7550-a656-7a22c02fb29e"},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": ""},
        {"secret": "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
    ],
    ids=str,
)
def test_it_refuses_what_we_have_not_sent(
    sample: dict[str, Any], sent: tuple[Received, str, str], forged: dict[str, Any]
) -> None:
    request, secret, _ = sent
    headers = request.headers | {name: text for name, text in forged.items() if name.startswith("webhook-")}
    with pytest.raises(sample["NotOurs"]):
        sample["verified"](forged.get("secret", secret), headers, forged.get("body", request.body))


@pytest.mark.parametrize("seconds", [-301, 301])
def test_it_refuses_a_message_that_is_replayed_outside_the_tolerance(
    sample: dict[str, Any],
    sent: tuple[Received, str, str],
    seconds: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catalogue 123."""
    request, secret, _ = sent
    now = int(request.headers["webhook-timestamp"])
    monkeypatch.setattr(sample["time"], "time", lambda: now + seconds)
    with pytest.raises(sample["NotOurs"], match="too old"):
        sample["verified"](secret, request.headers, request.body)
    monkeypatch.setattr(sample["time"], "time", lambda: now + seconds * 0.99)
    assert sample["verified"](secret, request.headers, request.body)
