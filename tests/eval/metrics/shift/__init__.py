"""Measures of distribution shift, on cases made so that the right order is known."""
