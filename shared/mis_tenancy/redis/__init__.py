"""Redis, one server or a cluster: keys that name their tenant, shared connections, scripts, channels."""

from mis_tenancy.redis.client import Redis, Script
from mis_tenancy.redis.keys import address_key, tenant_key
from mis_tenancy.redis.wire import RedisError, RedisReplyError, RedisUnavailable

__all__ = [
    "Redis",
    "RedisError",
    "RedisReplyError",
    "RedisUnavailable",
    "Script",
    "address_key",
    "tenant_key",
]
