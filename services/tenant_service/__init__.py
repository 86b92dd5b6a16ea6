"""The tenant service: tenants from their creation to their end, their configuration, plans and audit."""
