"""Moving a tenant from plan to plan: what would change, the move itself, now or at the period's end."""
