"""A tenant's data keys: which there are, a new one at once, and everything under old ones re-encrypted."""
