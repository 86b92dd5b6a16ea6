"""Many operations on tenants in one request, each standing for itself."""
