"""The options that several commands have, as types of their parameters."""

from typing import Annotated

import typer

from jobs.addresses import cluster, place, tracking_store, weights_place

Set = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may be repeated.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda",
        help="What computes; auto: GPUs where the model's size needs them, or the machines have or can bring them.",
    ),
]
Address = Annotated[str | None, typer.Option(parser=cluster, help="A Ray cluster to run on; without it, this machine.")]
Tracking = Annotated[
    str | None,
    typer.Option(
        parser=tracking_store,
        metavar="URI",
        help="The MLflow store; else MLFLOW_TRACKING_URI, else irodori.db in this folder (SQLite).",
    ),
]

# Of commands on corpora.
CorpusAt = Annotated[
    str, typer.Argument(parser=place, metavar="URI[@n]", help="A corpus, or one of its snapshots as URI@n.")
]
RayWorkers = Annotated[
    int | None, typer.Option(min=1, help="CPUs to use through Ray; without it, this process works alone.")
]

# Of commands on weights.
Network = Annotated[str, typer.Argument(help="A network, as `irodori weights list` names it.")]
Weights = Annotated[
    str,
    typer.Argument(
        parser=weights_place, help="A file, a diffusers folder or a checkpoint: a path, file://, s3:// or hf://."
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        parser=place, help="The store, a folder or s3:// prefix; else $IRODORI_WEIGHTS, else the user's cache."
    ),
]
