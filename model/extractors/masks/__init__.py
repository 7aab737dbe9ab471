"""Networks that find the foreground, and the conventions by which their inputs were prepared.

In: pictures. Out: masks (H, W).
"""
