"""Encrypted values of configuration as they are stored, and how they are opened again.

A ciphertext is bound to its tenant, configuration key and version of the tenant's key, so one that was moved
to another row does not open.
"""

import base64
import binascii
import json
from typing import Any

from mis_tenancy.encryption import TenantKeys, Undecryptable, key_version
from mis_tenancy.session import TenantSession


async def open_sealed(keys: TenantKeys, session: TenantSession, config_key: str, stored: Any) -> Any:
    """Return the value behind `stored`; raise Undecryptable where it does not belong here."""
    try:
        ciphertext = base64.b64decode(stored["ciphertext"], validate=True)
        if key_version(ciphertext) != stored["keyVersion"]:
            raise Undecryptable("The ciphertext is of another version of the tenant's key than it says.")
        return json.loads(await keys.decrypt(session, ciphertext, purpose_of(config_key)))
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise Undecryptable("The stored value is damaged.") from error


def purpose_of(config_key: str) -> str:
    """Return what a ciphertext of this key is bound to, besides its tenant and key version."""
    return f"config:{config_key}"
