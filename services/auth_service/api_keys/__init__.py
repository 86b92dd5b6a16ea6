"""Keys with which a tenant's programs sign in."""
