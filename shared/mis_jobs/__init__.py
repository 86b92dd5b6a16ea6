"""Background work on Postgres: enqueued with its cause, claimed fairly between tenants, run under a lease."""
