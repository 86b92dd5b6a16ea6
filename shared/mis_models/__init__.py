"""Every table beyond the middleware's, on the same Base: importing this package completes the metadata."""

from mis_models import (
    accounts,
    alerts,
    api_keys,
    audit,
    billing,
    branding,
    domains,
    endings,
    exports,
    health,
    imports,
    links,
    plan_migrations,
    platform,
    tenants,
    webhooks,
    work,
)
from mis_tenancy import actor_key_tables, usage_tables

__all__ = [
    "accounts",
    "actor_key_tables",
    "alerts",
    "api_keys",
    "audit",
    "billing",
    "branding",
    "domains",
    "endings",
    "exports",
    "health",
    "imports",
    "links",
    "plan_migrations",
    "platform",
    "tenants",
    "usage_tables",
    "webhooks",
    "work",
]
