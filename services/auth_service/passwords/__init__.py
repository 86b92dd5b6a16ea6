"""A tenant's password policy, and changing one's own password."""
