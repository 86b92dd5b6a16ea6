"""The staff of the platform: their sign-in, and their visits to tenants."""
