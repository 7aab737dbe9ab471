"""From encoded bytes to pixels and back: decoding, resizing, identity, canvases, drawings assembled from parts.

In: bytes of any picture format. Out: uint8 arrays (H, W, 3) in RGB, or an error that says why not.
"""
