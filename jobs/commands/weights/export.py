"""The command `irodori weights export`."""

from typing import Annotated

import typer

from jobs.addresses import place
from jobs.output import print_result


def command(
    checkpoint: Annotated[
        str, typer.Argument(parser=place, help="A checkpoint directory, or the output of a training.")
    ],
    out: Annotated[str, typer.Option(parser=place, help="The new .safetensors file, a path or s3:// address.")],
    use_ema: Annotated[bool, typer.Option("--use-ema", help="Write the moving average of the weights.")] = False,
    schedule: Annotated[
        bool, typer.Option(help="With the constants of the noise schedule, as released.", show_default="on")
    ] = True,
) -> None:
    """Write a checkpoint as one file in the layout of the released ColorizeDiffusion v1."""
    from pipelines.common.addresses import check_buckets
    from pipelines.weights.checkpoints import absolute_checkpoint, checkpoint_uri
    from pipelines.weights.locate import check_new_file

    check_buckets(checkpoint, out)
    checkpoint = checkpoint_uri(absolute_checkpoint(checkpoint))
    check_new_file(out)
    from pipelines.weights.convert import export

    made = export(checkpoint, out, use_ema, schedule)
    autoencoder = "with" if made.has_autoencoder else "without"
    print_result(
        f"{made.address}: {made.entries:,} entries, {autoencoder} autoencoder, predicts {made.metadata.prediction_type}"
    )
