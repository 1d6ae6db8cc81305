"""The commands, one file each. What is slow to import is imported by what needs it."""
