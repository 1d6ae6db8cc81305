"""The dock that restores."""
