"""Random numbers that depend on what they are for, never on what was drawn before them.

A Philox generator is a block cipher over a counter: its key is the run seed with the purpose, and every ordinal (a
global sample number) owns a block of 2^128 counter values. So any rank, thread or restart draws the numbers of sample n
without having drawn those of samples 0..n-1 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
"""

from zlib import crc32

import numpy as np

WORD = 1 << 64


def generator(seed: int, ordinal: int, purpose: str) -> np.random.Generator:
    """The generator of sample `ordinal` of the run `seed`, for one purpose ("augment", "timestep", ...).

    `seed` and `ordinal` are in [0, 2^64); anything else raises ValueError. Streams of different (seed, ordinal,
    purpose) do not overlap, up to a crc32 collision of two purposes.
    """
    for name, value in (("seed", seed), ("ordinal", ordinal)):
        if not 0 <= value < WORD:
            raise ValueError(f"{name} must be in [0, 2^64), got {value}")
    key = np.array([seed, crc32(purpose.encode())], dtype=np.uint64)
    # The two low words of the counter advance with the draws; the ordinal sits above them.
    counter = np.array([0, 0, ordinal, 0], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))
