import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import structlog
from starlette.applications import Starlette

from mis_cli.serving.server import Server
from mis_tenancy.logging import WITHHELD, configure_logging, ensure_logging, redact
from tests.mis_tenancy.twins import tenant, token_of

TOKEN = token_of(tenant("alpha"))


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    output = io.StringIO()
    configure_logging("user", "INFO", output)
    yield output
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_service_time_level_and_context(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(tenant_id="t1"):
        structlog.get_logger().info("request", status=200)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "request", "level": "info", "service": "user", "status": 200, "tenant_id": "t1"}


def test_where_nobody_has_said_how_an_error_still_shows_no_variable(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """structlog's own default would, a request's bearer among them."""
    structlog.reset_defaults()
    ensure_logging("tracker")
    try:
        bearer = TOKEN
        assert structlog.is_configured()
        try:
            len(bearer) / 0
        except ZeroDivisionError:
            structlog.get_logger().exception("request_failed")
        (line,) = capsys.readouterr().out.splitlines()
    finally:
        structlog.reset_defaults()
    assert json.loads(line)["service"] == "tracker"
    assert TOKEN[:20] not in line


def test_what_an_application_has_said_stays(stream: io.StringIO) -> None:
    ensure_logging("tracker")
    structlog.get_logger().info("request")
    assert lines(stream)[0]["service"] == "user"


def test_the_servers_own_lines_go_the_same_way(stream: io.StringIO) -> None:
    Server(Starlette())
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received from %s.", "somebody")
    (line,) = lines(stream)
    assert line["event"] == "Invalid HTTP request received from somebody."
    assert (line["level"], line["service"]) == ("warning", "user")


def test_a_line_break_in_a_value_forges_no_line(stream: io.StringIO) -> None:
    """Catalogue 135."""
    forged = 'x\n{"level":"error","event":"forged"}\r\n\u2028\x1b[31m'
    structlog.get_logger().info(forged, path=forged, **{"a\nb": "c"})
    logging.getLogger("library").warning("said %s", forged)
    assert [line["event"] for line in lines(stream)] == [forged, f"said {forged}"]


def test_lines_of_libraries_look_the_same(stream: io.StringIO) -> None:
    logging.getLogger("library").info("connected to %s", "postgresql://mis_app:hunter2@db/mis")
    logging.getLogger("library").debug("chatter")
    (line,) = lines(stream)
    assert line["event"] == f"connected to postgresql://{WITHHELD}@db/mis"
    assert (line["level"], line["logger"], line["service"]) == ("info", "library", "user")


def test_an_exception_is_logged_without_the_tokens_in_its_text(stream: io.StringIO) -> None:
    """Catalogue 134."""
    try:
        raise RuntimeError(f"cannot read {TOKEN}")
    except RuntimeError:
        structlog.get_logger().exception("request_failed")
        logging.getLogger("library").exception("failed")
    ours, theirs = lines(stream)
    for line in (ours, theirs):
        assert "RuntimeError: cannot read" in line["exception"]
        assert TOKEN not in json.dumps(line)


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Authorization",
        "token",
        "refreshToken",
        "access_token",
        "password",
        "newPassword",
        "secret",
        "client_secret",
        "cookie",
        "Set-Cookie",
        "key",
        "apiKey",
        "api_key",
        "master_keys",
        "privateKey",
        "recoveryCodes",
        "credential",
        "mfaToken",
    ],
)
def test_what_stands_under_a_secrets_name_is_withheld_at_any_depth(name: str) -> None:
    """Catalogue 134."""
    canary = "canary-0815"
    event = redact(
        None, "info", {name: canary, "body": {"deep": [{name: {"x": canary}}, (canary and "fine",)]}}
    )
    assert canary not in str(event)
    assert "fine" in str(event)


@pytest.mark.parametrize("name", ["configKey", "route", "tenant_id", "status", "monkey", "kid", "event"])
def test_other_names_keep_their_values(name: str) -> None:
    assert redact(None, "info", {name: "value"}) == {name: "value"}


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(TOKEN, id="an access token"),
        "mis_0123456789abcdefghij",
        "whsec_MfKQ9r8GKYqrTwjU",
        "Bearer abcdefghijkl",
    ],
)
def test_a_token_in_the_middle_of_a_text_is_withheld(secret: str) -> None:
    """Catalogue 134."""
    event = redact(
        None, "info", {"detail": f"got {secret} today", "raw": secret.encode(), "error": ValueError(secret)}
    )
    assert secret not in str(event)
    assert "today" in str(event)


def test_values_of_other_types_are_shown_as_text_and_deep_ones_not_at_all() -> None:
    identifier = UUID(int=1)
    deep: Any = "bottom"
    for _ in range(20):
        deep = [deep]
    event = redact(None, "info", {"id": identifier, "none": None, "flag": True, "deep": deep})
    assert (event["id"], event["none"], event["flag"]) == (str(identifier), None, True)
    assert "bottom" not in str(event["deep"])


def test_requests_that_we_make_are_not_told_of_with_their_urls(stream: io.StringIO) -> None:
    logging.getLogger("httpx").info(
        'HTTP Request: POST https://hooks.example/T0/B0/path-that-is-a-secret "200"'
    )
    logging.getLogger("httpx").warning("something is wrong")
    assert [line["event"] for line in lines(stream)] == ["something is wrong"]
