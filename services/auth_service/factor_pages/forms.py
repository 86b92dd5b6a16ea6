"""What a form holds of a proof, as the rules take it; whatever is no proof is a wrong one."""

import json
from typing import Any

from auth_service.mfa.checking import Shown
from auth_service.passkeys.registering import LONGEST_NAME, UNNAMED


def shown_in(code: str, recovery_code: str) -> Shown:
    """Return what was typed: a recovery code where there is one, else a code of the app."""
    return Shown(recovery_code=recovery_code) if recovery_code.strip() else Shown(code=code)


def name_typed(text: str) -> str:
    """Return a name as it can be kept; a passkey without one is called what it is."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").strip()[:LONGEST_NAME] or UNNAMED


def credential_typed(text: str) -> dict[str, Any]:
    """Return the JSON object that a script of ours has put into a form."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
