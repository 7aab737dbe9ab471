"""Features of pictures by Inception-v3: pytorch-fid, torch-fidelity and Irodori, with one set of made-up weights.

Each side decodes the same files, squashes them to SIDE, and computes in batches of BATCH with one thread, in a process
of its own. pytorch-fid is no dependency: `pip install --no-deps pytorch-fid==0.3.0`.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.measuring import Row
from benchmarks.peak_memory import peak_mib

SIDE, BATCH = 256, 8
Feature = Callable[[torch.Tensor], torch.Tensor]  # uint8 (B, 3, SIDE, SIDE) -> (B, dims)


def irodori() -> Feature:
    """Ours, as pytorch-fid resizes."""
    from benchmarks.evaluation.made_up_inception import published_inception
    from model.feature_networks.inception import FidInception, features, published_layout

    network = FidInception().eval().requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder:
        network.load_state_dict(published_layout(published_inception(Path(folder)).state_dict()))
    return lambda pictures: features(network, pictures.float() / 255)


def torch_fidelity() -> Feature:
    """torch-fidelity's extractor."""
    from benchmarks.evaluation.made_up_inception import published_inception

    with tempfile.TemporaryDirectory() as folder:
        network: Any = published_inception(Path(folder))
    return lambda pictures: network(pictures)[0]


def pytorch_fid() -> Feature:
    """pytorch-fid's network. Raises ModuleNotFoundError where it is not installed."""
    import pytorch_fid.inception as theirs

    from benchmarks.evaluation.made_up_inception import published_inception

    with tempfile.TemporaryDirectory() as folder:
        state = published_inception(Path(folder)).state_dict()
    fetch = theirs.load_state_dict_from_url
    theirs.load_state_dict_from_url = lambda *address, **options: state
    try:
        network = theirs.InceptionV3([3]).eval()
    finally:
        theirs.load_state_dict_from_url = fetch
    return lambda pictures: network(pictures.float() / 255)[0].flatten(1)


def lite() -> Feature:
    """The small network that needs no store, for many pictures."""
    from model.feature_networks.efficientnet import features, load

    network, _ = load()
    return lambda pictures: features(network, pictures.float() / 255)


SIDES: dict[str, Callable[[], Feature]] = {
    "pytorch-fid": pytorch_fid,
    "torch-fidelity": torch_fidelity,
    "Irodori": irodori,
    "lite": lite,
}


def batches(files: Sequence[Path]) -> Iterator[torch.Tensor]:
    """The pictures, uint8 (B, 3, SIDE, SIDE)."""
    for start in range(0, len(files), BATCH):
        pictures = []
        for file in files[start : start + BATCH]:
            with Image.open(file) as picture:
                pictures.append(np.asarray(picture.convert("RGB").resize((SIDE, SIDE))))
        yield torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


@torch.inference_mode()
def measure(side: str, files: Sequence[Path]) -> Row:
    """Seconds and peak MiB of one process with one thread, and the sum of the features."""
    torch.set_num_threads(1)
    feature = SIDES[side]()
    for batch in batches(files[:BATCH]):
        feature(batch)  # kernels are chosen
    started, total = time.monotonic(), 0.0
    for batch in batches(files):
        total += float(feature(batch).double().sum())
    return {"seconds": time.monotonic() - started, "peak MiB": peak_mib(), "sum": total}


def together(files: Sequence[Path], workers: int) -> float:
    """Seconds of so many processes of one thread that share the files, from when all are ready."""
    context = get_context("spawn")
    ready, queue = context.Barrier(workers), context.Queue()
    shares = [list(files[number::workers]) for number in range(workers)]
    processes = [context.Process(target=_worker, args=(share, ready, queue)) for share in shares]
    for process in processes:
        process.start()
    spans = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    return max(end for _, end in spans) - min(start for start, _ in spans)


@torch.inference_mode()
def _worker(files: Sequence[Path], ready: Any, queue: Any) -> None:
    torch.set_num_threads(1)
    feature = irodori()
    for batch in batches(files[:BATCH]):
        feature(batch)
    ready.wait()
    started = time.monotonic()
    for batch in batches(files):
        feature(batch)
    queue.put((started, time.monotonic()))
