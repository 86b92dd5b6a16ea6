"""What a receiver is sent: the envelope of an event, fixed when the event is passed on."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

PING: Final = "webhook.ping"


def envelope(event: str, occurred_at: datetime, tenant_id: UUID, data: Mapping[str, Any]) -> str:
    """Return the body of a message; its `data` always names the tenant."""
    timestamp = occurred_at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    message = {"type": event, "timestamp": timestamp, "data": {"tenantId": str(tenant_id), **data}}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))
