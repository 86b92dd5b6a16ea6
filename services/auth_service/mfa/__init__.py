"""The second factor: an authenticator app (RFC 6238), and recovery codes for when it is lost."""
