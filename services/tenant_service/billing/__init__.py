"""What tenants pay for: subscriptions, their periods, invoices and payments."""
