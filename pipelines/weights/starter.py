"""Makes the weights that ship of a finished run: its moving average in half precision, without addresses of its maker.

Run: `python -m pipelines.weights.starter RUN [--name starter-fast]`. How the runs are made: docs/starter.md.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from model.checkpoint import CONFIG, WEIGHTS, CheckpointMetadata, load_checkpoint, save_checkpoint
from pipelines.weights.checkpoints import BY_NAME, CHECKPOINT, FAST, STARTER, absolute_checkpoint, fetch_checkpoint

# With which the pictures were best (docs/starter.md): a student of four steps has learned the ones between them too.
SAMPLING = {
    STARTER: {"sampler": "ddim", "spacing": "trailing", "steps": 4, "guidance_scale": 1.5},
    FAST: {"sampler": "ddim", "spacing": "trailing", "steps": 3, "guidance_scale": 1.0},
}


def make_starter(run: str, out: Path, name: str = STARTER, earlier_images: int = 0) -> CheckpointMetadata:
    """Write the checkpoint, and return what it says of itself.

    name: whose sampling it records. earlier_images: those that the stages before this one saw. Raises ModelError where
    the run kept no average.
    """
    averaged, metadata = load_checkpoint(fetch_checkpoint(absolute_checkpoint(run)), ema=True)
    told = replace(
        metadata,
        parent=None,
        ema_decay=None,
        ema_sha256="",
        corpus_snapshot=None,
        sampling=SAMPLING[name],
        images_seen=metadata.images_seen + earlier_images,
    )
    # Its card and the list of its sources stay where they are.
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        saved = save_checkpoint(Path(folder) / CHECKPOINT, averaged.half(), told)
        for file in (WEIGHTS, CONFIG):
            (Path(folder) / CHECKPOINT / file).replace(out / file)
            (out / file).chmod(0o644)
    return saved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="the output of a training that kept a moving average")
    parser.add_argument("--earlier-images", type=int, default=0, help="seen by the stages that it went on from")
    parser.add_argument("--name", choices=BY_NAME, default=STARTER, help="of the weights that ship")
    arguments = parser.parse_args()
    out = BY_NAME[arguments.name]
    made = make_starter(arguments.run, out, arguments.name, arguments.earlier_images)
    print(f"{out}: {made.stage} {made.size}, {made.images_seen:,} images, weights {made.weights_sha256[:12]}")


if __name__ == "__main__":
    main()
