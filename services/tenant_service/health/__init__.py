"""A tenant's health: probes in its own context, and what a day of them says."""
