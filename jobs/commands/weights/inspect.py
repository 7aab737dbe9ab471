"""The command `irodori weights inspect`."""

import tempfile
from pathlib import Path

from jobs.options import Json, Weights
from jobs.output import as_json, print_result


def command(address: Weights, json_: Json = False) -> None:
    """What weights are, from their keys and shapes: family, parts, what is missing or unknown, what they predict."""
    from pipelines.common.addresses import check_buckets
    from pipelines.weights.locate import check_there

    check_buckets(address)
    check_there(address)
    from jobs.commands.weights.inspection_text import inspection_text
    from pipelines.weights.inspection import inspect

    with tempfile.TemporaryDirectory(prefix="irodori-weights-") as scratch:
        document = inspect(address, Path(scratch)).document()
    print_result(as_json(document) if json_ else inspection_text(document))
