"""What must stand for tenants to be apart, and what does: in the database's catalogue and in models."""
