"""Whether a tenant's isolation stands: asked of what runs, not of what we meant."""
