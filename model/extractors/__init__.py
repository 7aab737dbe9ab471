"""Networks that derive something from a picture: line art, masks, tags and scores.

Each module holds one published network under its own state-dict keys and the conventions by which public code feeds it.
In: uint8 pictures (H, W, 3), RGB over white, or line art (H, W), black on white, of any size. Out: arrays of that size,
or numbers. `model.catalogue` says which files are published for each and where; `load` reads a converted one.
"""
