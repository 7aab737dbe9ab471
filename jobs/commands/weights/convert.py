"""The command `irodori weights convert`."""

from enum import StrEnum
from typing import Annotated

import typer

from jobs.addresses import place
from jobs.options import Weights
from jobs.output import print_result


class Predicts(StrEnum):
    """What a diffusion network was trained to predict."""

    EPS = "eps"
    V = "v"


def command(
    address: Weights,
    out: Annotated[str, typer.Option(parser=place, help="The checkpoint directory to make.")],
    prediction_type: Annotated[
        Predicts | None,
        typer.Option(help="What the network predicts; needed where nothing beside the file records it."),
    ] = None,
    use_ema: Annotated[bool, typer.Option("--use-ema", help="Take the file's moving average, model_ema.")] = False,
) -> None:
    """Make a checkpoint of Stable Diffusion 2.x weights, to train from, or of a released ColorizeDiffusion v1."""
    from pipelines.common.addresses import check_buckets
    from pipelines.weights.locate import check_new_checkpoint, check_there

    check_buckets(address, out)
    check_there(address)
    check_new_checkpoint(out)
    from pipelines.weights.convert import convert

    made = convert(address, out, prediction_type.value if prediction_type else None, use_ema)
    print_result(
        f"{out}: v1 {made.stage}, size {made.size}, predicts {made.prediction_type}, sha256 {made.weights_sha256}\n"
        f"from {made.source}, sha256 {made.source_sha256}"
    )
