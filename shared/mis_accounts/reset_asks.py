"""An ask for a new password on its way to the worker: the address is sealed, as jobs are read by its role.

It stands between the services, because one leaves such asks and another erases whoever they are about.
"""

import base64
from typing import Any, Final
from uuid import UUID

from mis_tenancy.encryption import Wrapping
from mis_tenancy.identifiers import new_id

# The kind of the job that finds out whom to write to.
RESET_MAIL: Final = "password_reset_mail"


def sealed(wrapping: Wrapping, email_norm: str, tenant_id: UUID) -> dict[str, Any]:
    """Return the payload of a job about the address, which only a master key opens."""
    ask_id = new_id()
    text, key_id = wrapping.wrap(email_norm.encode("utf-8", "replace"), _purpose(ask_id, tenant_id))
    return {"ask": str(ask_id), "key": key_id, "sealed": base64.b64encode(text).decode()}


def opened(wrapping: Wrapping, payload: dict[str, Any], tenant_id: UUID) -> str:
    """Return the address that `sealed` made the payload of."""
    purpose = _purpose(UUID(payload["ask"]), tenant_id)
    return wrapping.unwrap(base64.b64decode(payload["sealed"]), payload["key"], purpose).decode()


def _purpose(ask_id: UUID, tenant_id: UUID) -> str:
    return f"password-reset:{tenant_id}:{ask_id}"
