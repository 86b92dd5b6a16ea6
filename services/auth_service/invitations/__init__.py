"""Inviting people into a tenant: each invitation holds a seat for seven days and is accepted once."""
