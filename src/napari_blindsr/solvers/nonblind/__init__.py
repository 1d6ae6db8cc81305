"""Restoration with a known kernel."""
