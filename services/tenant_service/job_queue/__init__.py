"""What operators see of background work, and how they have what was given up tried again."""
