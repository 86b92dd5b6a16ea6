"""What a tenant uses: requests, users, storage and features, over any range of time."""
