"""The user service: who belongs to a tenant."""
