"""Views: what a pair has, as a feature network sees it, by name.

`result@inception_2048` are the features of the result, `original@…` those of the sketch's own picture,
`result+truth@lpips_alex` what a network that takes two pictures says of both. The networks and what they give stand in
`model.feature_networks.table`; this package knows their names alone. A view that several metrics read is computed once.
"""

from typing import NamedTuple

SEEN_BY = "@"


class View(NamedTuple):
    """of: names that a pair gives (eval.metrics.metric), or `result`; network: the name of the features."""

    of: tuple[str, ...]
    network: str


def of_both(network: str) -> tuple[str, str]:
    """The views of a distance between sets: results and the sketches' own pictures, as one network sees them."""
    return f"result{SEEN_BY}{network}", f"original{SEEN_BY}{network}"


def parse(name: str) -> View | None:
    """The view of this name; None for the name of what a pair gives itself."""
    of, seen_by, network = name.partition(SEEN_BY)
    return View(tuple(of.split("+")), network) if seen_by else None


def given_names(name: str) -> tuple[str, ...]:
    """What of a pair is needed for `name`, a view or not; the result is always there."""
    view = parse(name)
    return tuple(part for part in view.of if part != "result") if view else (name,)
