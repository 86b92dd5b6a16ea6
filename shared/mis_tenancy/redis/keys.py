"""What keys are called: each names its tenant in braces, or is that of a client's network."""

from urllib.parse import quote
from uuid import UUID


def tenant_key(tenant_id: UUID, *parts: str) -> str:
    """Return the key `{<tenant_id>}:part:part`, whose braces keep a tenant's keys on one node of a cluster.

    Parts may be any text: what could end the braces or add a part is percent-encoded, so that different parts
    never make the same key.
    """
    return ":".join((f"{{{tenant_id}}}", *(quote(part, safe="") for part in parts)))


def address_key(network: str) -> str:
    """Return the burst key of a client network; no tenant's key starts like it."""
    return f"{{a:{quote(network, safe=':./')}}}:burst"
