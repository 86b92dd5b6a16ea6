"""`mis load`: many tenants at work at once, and whether each was served alike and saw only its own."""
