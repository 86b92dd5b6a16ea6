"""The second factor of operators: an authenticator app, and recovery codes for when it is lost."""
