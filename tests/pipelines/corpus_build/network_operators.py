"""A small network as an operator, and one without a network that reads it: what a build's lanes are tested with.

The network is a Laplacian, so that its values can be worked out by hand; on pictures with a mark it misbehaves as
tests.pipelines.corpus_build.fault_operators does, within the batch that holds them.
"""

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from dataprep.faults import Fault
from dataprep.operators.operator import Operator, one_by_one
from dataprep.operators.row_input import RowInput
from dataprep.operators.without_networks import gray_of
from dataprep.pictures.decode import decode_png
from pipelines.recipes.build_recipe import BuildRecipe
from tests.pipelines.corpus_build.fault_operators import DRILLS, MARK

EDGES = "tests.pipelines.corpus_build.network_operators:edges"
TRACED = "tests.pipelines.corpus_build.network_operators:traced"
batches_seen: list[tuple[int, ...]] = []  # shapes of what `run` was given in this process
loads: list[int] = []  # process ids, once for each network that was loaded


class Edges:
    """dataprep.operators.network_step.NetworkStep. Two planes: the gray picture, and what its mark asks for."""

    def load(self) -> None:
        loads.append(os.getpid())
        self.kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]

    def prepare(self, row: RowInput) -> np.ndarray | None:
        if min(row.picture.rgb.shape[:2]) < 40:
            return None
        first = row.picture.rgb[0, 0].tolist()
        mark = first[2] + 1 if tuple(first[:2]) == MARK else 0
        gray = gray_of(row.picture) / np.float32(255)
        return np.stack([gray, np.full_like(gray, mark)])

    def without_network(self, row: RowInput) -> np.ndarray:
        return np.zeros(row.picture.rgb.shape[:2], np.uint8)

    def run(self, batch: np.ndarray) -> np.ndarray:
        batches_seen.append(batch.shape)
        gray = torch.from_numpy(batch[:, :1])
        edges = F.conv2d(F.pad(gray, (1, 1, 1, 1), "replicate"), self.kernel)[:, 0].numpy()
        for place, mark in enumerate(batch[:, 1, 0, 0].astype(int)):
            behaviour = DRILLS[mark - 1] if mark else ""
            if behaviour == "raises":
                raise Fault("raised", "no such layer")
            if behaviour == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            if behaviour == "waits":
                time.sleep(60)
            if behaviour == "nan":
                edges[place, 3, 3] = np.nan
        return edges

    def finish(self, row: RowInput, output: np.ndarray) -> Any:
        return by_hand(output)


def by_hand(edges: np.ndarray) -> np.ndarray:
    """Edges, dark on white."""
    return 1 - np.clip(np.abs(edges), 0, 1)


def laplacian(gray: np.ndarray) -> np.ndarray:
    """The same network by another library: uint8 (H, W) -> float32 (H, W)."""
    return cv2.Laplacian(gray / np.float32(255), cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REPLICATE)


def edges(recipe: BuildRecipe, built: Mapping[str, Operator]) -> Operator:
    step = Edges()
    return Operator("sketch_edges", "edges", 1, one_by_one(step), network=step)


def traced(recipe: BuildRecipe, built: Mapping[str, Operator]) -> Operator:
    return Operator("sketch_traced", "traced", 1, _inverted, inputs=(built["sketch_edges"],))


def _inverted(row: RowInput) -> np.ndarray:
    seen = row.columns["sketch_edges"]
    return np.full(row.picture.rgb.shape[:2], 128, np.uint8) if seen is None else 255 - decode_png(seen)
