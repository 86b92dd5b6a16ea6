"""Tenancy for ASGI services: resolve, validate, limit and audit each request, and scope its SQL."""
