"""The tests; a package by name, because a library brings a top-level `tests` of its own."""
