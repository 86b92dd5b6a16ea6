"""What an operator's secret is sealed for: under the master key, because operators have no tenant's key."""

from uuid import UUID


def purpose_of(operator_id: UUID) -> str:
    """Return what a master key's ciphertext of the secret is bound to."""
    return f"operator-totp:{operator_id}"
