"""A tenant's audit log, to be read."""
