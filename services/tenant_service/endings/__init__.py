"""How tenants end: a deletion with its grace, the way back, the purge, and the certificate of it."""
