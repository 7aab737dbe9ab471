"""Families of the test suite, registered by module path as a user's own would be."""
