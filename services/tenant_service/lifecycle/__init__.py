"""Tenants from creation to suspension: what they are called, may use, and which state they are in."""
