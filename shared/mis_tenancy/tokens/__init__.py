"""Bearers: from the text of a token or an API key to who stands behind it, and the keys for that."""
