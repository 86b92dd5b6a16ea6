"""Webhooks and their deliveries on the wire."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool, StringConstraints

from mis_http.outbound.destinations import LONGEST_URL
from mis_http.schemas import Moment, RequestBody, ResponseBody, Text
from mis_jobs.outbox import EventType
from mis_models.webhooks import DeliveryRow, WebhookRow
from tenant_service.webhooks.service import Changes, Unveiled

# The default of a field that may be left out and may not be null.
_ABSENT: Any = None

DeliveryStatus = Literal["pending", "delivered", "failed"]
WebhookStatus = Literal["active", "disabled"]


def _once_each(events: list[EventType]) -> list[EventType]:
    return list(dict.fromkeys(events))


Url = Annotated[Text, StringConstraints(min_length=1, max_length=LONGEST_URL)]
Events = Annotated[list[EventType], Field(min_length=1, max_length=100), AfterValidator(_once_each)]


class WebhookIn(RequestBody):
    """Where to send which events."""

    url: Url
    events: Events


class WebhookPatch(RequestBody):
    """What is to change; what is left out stays."""

    url: Url = Field(default=_ABSENT)
    events: Events = Field(default=_ABSENT)
    status: WebhookStatus = Field(
        default=_ABSENT, description="While it is disabled nothing is sent, and new events are not kept."
    )
    rotate_secret: StrictBool = Field(
        False, description="Make a new secret. The old one signs beside it for 24 hours."
    )

    def value(self) -> Changes:
        """Return what the body asks for."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return Changes(**given)


class WebhookOut(ResponseBody):
    """A webhook; `disabledReason` is `requested`, `gone` (it answered 410) or `failing` (for three days)."""

    id: UUID
    url: str
    events: list[EventType]
    status: WebhookStatus
    disabled_reason: Literal["requested", "gone", "failing"] | None
    failing_since: Moment | None
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, row: WebhookRow) -> Self:
        """Return the webhook as it is shown."""
        return cls.model_validate(row, from_attributes=True)


class UnveiledWebhookOut(WebhookOut):
    """A webhook with its secret, which is shown this once; null where no new one was made."""

    secret: str | None

    @classmethod
    def unveiled(cls, webhook: Unveiled) -> Self:
        """Return the webhook as it is shown, with the secret where there is a new one."""
        shown = {name: getattr(webhook.row, name) for name in WebhookOut.model_fields}
        return cls(**shown, secret=webhook.secret)


class DeliveryOut(ResponseBody):
    """An event on its way; `error` says why an attempt brought no answer."""

    id: UUID
    type: str
    status: DeliveryStatus
    attempts: int
    response_status: int | None
    error: str | None
    next_attempt_at: Moment | None
    last_attempt_at: Moment | None
    created_at: Moment

    @classmethod
    def of(cls, row: DeliveryRow) -> Self:
        """Return the delivery as it is shown."""
        return cls.model_validate(row, from_attributes=True)
