"""How well do figure and ground keep to their own colours? See `__main__`."""
