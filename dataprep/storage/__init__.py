"""Bytes at an address, a path or s3://: read, list, write whole, and which failures are worth another try.

In: addresses. Out: bytes, or an error that names the address.
"""
