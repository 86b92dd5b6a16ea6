"""What must stand in the database's catalogue for tenants to be isolated: the migrations, read back.

A table that is not named here is held to the strict rule: its rows are the bound tenant's. So a new table
that forgets its policy is a breach, and no list has to be kept for those that have one.
"""

from collections.abc import Mapping
from typing import Final

from mis_tenancy.isolation.facts import Policy

_SETTING: Final = "(NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid"
BOUND: Final = f"(tenant_id = {_SETTING})"
_OWN_ROW: Final = f"(id = {_SETTING})"

OWNER: Final = "mis_owner"
PLATFORM: Final = "mis_platform"
# The roles that serve tenants' requests.
APPLICATION: Final = ("mis_app", "mis_auth")

# Tables with rules of their own: the directory that every service reads, and the news that all must hear.
_SPECIAL: Final[Mapping[str, tuple[Policy, ...]]] = {
    "tenants": (
        Policy("directory_read", "r", ("mis_app",), "true", None),
        Policy("directory_write", "w", ("mis_app",), _OWN_ROW, _OWN_ROW),
    ),
    "revocations": (
        Policy("read", "r", ("mis_app", "mis_platform"), "true", None),
        Policy("write", "a", ("mis_app",), None, BOUND),
        Policy("platform", "*", ("mis_auth", "mis_platform"), "true", "true"),
    ),
}
_STRICT: Final = (Policy("tenant_isolation", "*", ("mis_app", "mis_platform"), BOUND, BOUND),)

# What everybody reads, by their nature: no rows of one tenant are searched for there.
SHARED: Final = frozenset(_SPECIAL)
# Tables that name tenants and that no service reaches while it serves one.
OUT_OF_REACH: Final = frozenset({"platform_audit_logs", "platform_idempotency_keys", "deletion_certificates"})
# A tenant's content and secrets: there not even the platform's role crosses tenants.
NEVER_CROSSED: Final = frozenset(
    {
        *("users", "user_terms", "refresh_tokens", "tenant_profiles", "media"),
        *("tenant_configurations", "tenant_configuration_versions", "tenant_data_keys"),
        *("webhooks", "webhook_deliveries"),
        *("totp_factors", "recovery_codes", "passkeys", "sso_identities", "sso_attempts"),
    }
)
# Their rows are claimed over all tenants, or share one namespace, so their keys cannot lead with the tenant.
KEYED_APART: Final = frozenset({"jobs", "outbox", "tenant_names", "webhook_lanes"})
# Tables without row-level security that a service may read: a public key and a price are nobody's.
UNNARROWED: Final = frozenset({"public_signing_keys", "certificate_keys", "plan_prices"})
# Logs that only grow.
APPEND_ONLY: Final = ("audit_logs", "audit_seals")


def expected_policies(table: str) -> tuple[Policy, ...]:
    """Return the policies that must hold the application's roles in `table`."""
    return _SPECIAL.get(table, _STRICT)
