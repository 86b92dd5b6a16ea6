"""Webhooks: a tenant's events leave the outbox, are signed, and reach the addresses the tenant named."""
