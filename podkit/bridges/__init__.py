"""Bridges to other libraries, one file each. Nothing is imported here: ask for the one that is wanted, by its own name."""
