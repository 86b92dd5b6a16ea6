"""A single-tenant database becomes a multi-tenant one: planned from its catalogue, done while it serves."""
