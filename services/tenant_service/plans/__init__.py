"""The plans a tenant can be on, and what they cost."""
