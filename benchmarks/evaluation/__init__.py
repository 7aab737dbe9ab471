"""What does an evaluation cost its driver? See `__main__`."""
