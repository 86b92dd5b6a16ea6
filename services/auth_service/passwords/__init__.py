"""A tenant's password policy, and how a password is changed, or replaced when it is forgotten."""
