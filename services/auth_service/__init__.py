"""The auth service: who signs in, how long that holds, and the keys that prove it."""
