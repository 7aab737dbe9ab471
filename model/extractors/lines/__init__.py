"""Networks that draw line art from a colour picture, under their published keys.

In: pictures by each network's convention. Out: sketches, black on white.
"""
