"""Operators help owners who have lost app and recovery codes, and whom nobody in their tenant can help."""
