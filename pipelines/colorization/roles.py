"""The roles of the references of a picture, and how documents hold what belongs to them.

A document has the picture whose colours are taken under "reference", null where there is none, as pictures have always
recorded it; what belongs to other roles is under "references", which is left out where there are none.
"""

from collections.abc import Mapping
from typing import Any

REFERENCE = "reference"  # the picture whose colours are taken
BACKGROUND = "background"  # a picture whose colours the ground takes instead
SKETCH_MASK, REFERENCE_MASK = "sketch_mask", "reference_mask"  # where the figure is: white


def role_entries(by_role: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a document for values by role."""
    others = {role: value for role, value in by_role.items() if role != REFERENCE}
    return {REFERENCE: by_role.get(REFERENCE)} | ({"references": others} if others else {})


def pop_roles(document: dict[str, Any]) -> dict[str, Any]:
    """Take the entries of `role_entries` out of a document: values by role.

    "references" may hold the role "reference" too. Raises KeyError where neither entry is there.
    """
    if "references" not in document and REFERENCE not in document:
        raise KeyError(REFERENCE)
    first, others = document.pop(REFERENCE, None), document.pop("references", {})
    return ({} if first is None else {REFERENCE: first}) | dict(others)
