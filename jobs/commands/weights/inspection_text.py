"""What `irodori weights inspect` prints for a person: the document of an inspection as lines."""

from collections.abc import Sequence
from typing import Any

_MOST_KEYS = 12


def inspection_text(document: dict[str, Any]) -> str:
    """Lines for a person; long lists of keys are cut, `--json` has them whole."""
    lines = [
        document["address"],
        f"  is                {_what(document)}",
        f"  numbers           {document['numbers']:,} in {document['entries']:,} entries, {_precision(document)}",
        *(f"  sha256            {digest}  {file}" for file, digest in document["sha256"].items()),
    ]
    if document["family"]:
        prediction, source = document["prediction_type"], document["prediction_type_from"]
        lines.append(f"  prediction type   {f'{prediction} ({source})' if prediction else source}")
    for part in document["parts"]:
        lines.append(f"  {part['name']:<18}{part['state']}" + _part(part))
        for what in ("missing", "wrong"):
            if part["state"] == "incomplete" and part[what]:
                lines.append(f"    {what}: {_some(part[what])}")
    if document["text_encoder_entries"]:
        lines.append(f"  text encoder      {document['text_encoder_entries']:,} entries, which v1 does without")
    if document["unmatched"]:
        lines.append(f"  unmatched         {len(document['unmatched']):,}: {_some(document['unmatched'])}")
    return "\n".join(lines)


def _what(document: dict[str, Any]) -> str:
    if document["family"]:
        size = f", {document['size']} size of v1" if document["size"] else ""
        return f"{document['family']}, {document['layout']} layout{size}"
    return f"the network {document['network']} of the catalogue" if document["network"] else "nothing known here"


def _precision(document: dict[str, Any]) -> str:
    found = document["precision"]
    return next(iter(found)) if len(found) == 1 else ", ".join(f"{name}: {count:,}" for name, count in found.items())


def _part(part: dict[str, Any]) -> str:
    return f", {part['entries']:,} entries, {part['numbers']:,} numbers" if part["numbers"] else ""


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _MOST_KEYS:,} more (--json lists them)" if len(keys) > _MOST_KEYS else ""
    return ", ".join(keys[:_MOST_KEYS]) + more
