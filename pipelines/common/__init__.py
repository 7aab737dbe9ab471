"""What every pipeline shares: errors, overrides of settings, addresses, progress, versions.

In: what a caller gave. Out: checked values, or one clear error.
"""
