"""What several services do to a user: address, password, seat, membership, and the end of their sessions."""
