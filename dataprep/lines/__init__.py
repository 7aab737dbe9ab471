"""Line art: what it is, how it is drawn without a network, what its ink says, and the regions between its lines.

In: pictures as arrays. Out: sketches (H, W), black on white, region maps and layers.
"""
