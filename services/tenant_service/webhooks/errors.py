"""The refusals of webhooks, drawn as a tree.

ProblemError
├── FieldRefused 422
│   └── WebhookUrlRefused
├── WebhookNotFound 404 · DeliveryNotFound 404
└── WebhookDisabled 409
"""

from mis_tenancy.errors import ProblemError
from tenant_service.errors import FieldRefused


class WebhookUrlRefused(FieldRefused):
    """The URL leads where no webhook may."""

    code = "webhook_url_refused"
    detail = "Webhooks reach public https:// addresses only."


class WebhookNotFound(ProblemError):
    """The tenant has no such webhook."""

    status = 404
    code = "webhook_not_found"
    detail = "This tenant has no such webhook. GET …/webhooks lists them."


class DeliveryNotFound(ProblemError):
    """The webhook has no such delivery."""

    status = 404
    code = "delivery_not_found"
    detail = "This webhook has no such delivery. They are kept for 30 days."


class WebhookDisabled(ProblemError):
    """Nothing is sent to a disabled webhook."""

    status = 409
    code = "webhook_disabled"
    detail = "This webhook is disabled, so nothing is sent to it. Set its status to active first."
