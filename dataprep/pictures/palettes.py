"""Colours for assembled pictures: natural ones and the wide, saturated ones of anime.

Every picture draws all names, in a fixed order, from its own generator, so that what one name gets never depends on
which names a drawing uses. Nothing is near black: ink stays the only black in a picture.
"""

import colorsys

import numpy as np

_NATURAL_HAIR = ("#2b2320", "#4a3328", "#6b4a30", "#8d5a2b", "#a8642a", "#b9853f", "#d9b36c", "#efd9a0", "#9a3b22")
_GRAY_HAIR = ("#e6e3e0", "#b8b6b8", "#8c8a90")
_SKIN = ("#ffe3d0", "#fbd3b4", "#f2c39b", "#e3a97d", "#cf8f62", "#b27447", "#8f5a37", "#6f4430", "#533328")
_FANTASY_SKIN = ("#a9c9f0", "#b8e0b0", "#d3b8e8", "#f0a8a0", "#c4c8cc", "#9fd8d2")
_NAMED = {
    "black": "#262222", "white": "#f4f2ee", "gray": "#8c8c90", "brown": "#6b4429", "blonde": "#e6c878",
    "red": "#d8302c", "orange": "#ee8428", "yellow": "#f2e03c", "green": "#3ca34a", "cyan": "#4cc8d0",
    "blue": "#3458d0", "navy": "#26305c", "purple": "#8040b8", "pink": "#f08ab8", "magenta": "#d838a0",
    "peach": "#f6cba6",
}  # fmt: skip
_DARKEST = 28  # of 255, the brightest channel of any colour


def draw_colors(rng: np.random.Generator) -> dict[str, str]:
    """name -> "#rrggbb" for every colour of an assembly."""
    background = _vivid(rng, lightness=(0.35, 0.93), saturation=(0.15, 0.95))
    return {
        "hair": _hair(rng),
        "skin": _skin(rng),
        "clothes": _clothes(rng),
        "eyes": _vivid(rng, lightness=(0.35, 0.65), saturation=(0.5, 1.0)),
        "lips": _hls(rng.uniform(0.9, 1.03) % 1.0, rng.uniform(0.35, 0.65), rng.uniform(0.45, 0.95)),
        "accent": _vivid(rng, lightness=(0.4, 0.8), saturation=(0.5, 1.0)),
        "background": background,
        "background2": background if rng.random() < 0.4 else _vivid(rng, (0.35, 0.93), (0.15, 0.95)),
    }


def nearest_name(color: str) -> str:
    """The nearest of sixteen colour words, by squared RGB distance."""
    return min(_NAMED, key=lambda name: float(((_rgb(_NAMED[name]) - _rgb(color)) ** 2).sum()))


def _hair(rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.3:
        return _near(rng, _NATURAL_HAIR)
    if kind < 0.4:
        return _near(rng, _GRAY_HAIR)
    return _vivid(rng, lightness=(0.3, 0.8), saturation=(0.45, 1.0))


def _skin(rng: np.random.Generator) -> str:
    if rng.random() < 0.1:
        return _near(rng, _FANTASY_SKIN)
    step = rng.uniform(0, len(_SKIN) - 1)
    below, above = _rgb(_SKIN[int(step)]), _rgb(_SKIN[int(step) + 1])
    return _hex(below + (above - below) * (step % 1) + rng.uniform(-5, 5, 3))


def _clothes(rng: np.random.Generator) -> str:
    if rng.random() < 0.2:
        level = rng.uniform(40, 245)
        return _hex(level + rng.uniform(-8, 8, 3))
    return _vivid(rng, lightness=(0.22, 0.85), saturation=(0.3, 1.0))


def _near(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return _hex(_rgb(choices[rng.integers(len(choices))]) + rng.uniform(-10, 10, 3))


def _vivid(rng: np.random.Generator, lightness: tuple[float, float], saturation: tuple[float, float]) -> str:
    return _hls(rng.random(), rng.uniform(*lightness), rng.uniform(*saturation))


def _hls(hue: float, lightness: float, saturation: float) -> str:
    return _hex(np.array(colorsys.hls_to_rgb(hue, lightness, saturation)) * 255)


def _rgb(color: str) -> np.ndarray:
    return np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)], np.float64)


def _hex(rgb: np.ndarray) -> str:
    """Rounded and clipped; lifted where it would come near the ink."""
    channels = np.clip(np.rint(rgb), 0, 255).astype(int)
    if channels.max() < _DARKEST:
        channels = channels + (_DARKEST - channels.max())
    return "#" + "".join(f"{channel:02x}" for channel in channels)
