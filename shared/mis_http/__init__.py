"""What every service's HTTP edge shares: composition, idempotency, ETags, pages, limits, problems."""
