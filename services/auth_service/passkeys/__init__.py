"""Passkeys, which are the feature `biometric_auth`: WebAuthn credentials that sign in by themselves."""
