"""Files on their way in and out: named, hashed, streamed, and never whole in memory."""
