"""The feature networks of an evaluation: which weights they are, and how a batch looks to them."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from eval.metrics.views import parse
from model.feature_networks import efficientnet
from model.feature_networks.table import FEATURES
from pipelines.weights.store import find_stored, load_network, stored


def weights_of(networks: Iterable[str], store: str) -> dict[str, str]:
    """Name in the catalogue -> sha256 of the weights that these feature networks take.

    Raises PipelineError, with the command that brings them, where the store lacks some.
    """
    return {weights: stored(weights, store).sha256 for weights in _taken(networks)}


def absent(networks: Iterable[str], store: str) -> list[str]:
    """Names in the catalogue of the weights that these feature networks take and the store lacks."""
    return [weights for weights in _taken(networks) if find_stored(weights, store) is None]


def _taken(networks: Iterable[str]) -> list[str]:
    """Names in the catalogue of all weights that feature networks take, each once."""
    return list(dict.fromkeys(weights for network in networks for weights in FEATURES[network].networks))


def identity(network: str, weights: Mapping[str, str]) -> str:
    """What a score quotes of a feature network: its name and the first 12 digits of its weights' sha256."""
    hashes = [weights[name] for name in FEATURES[network].networks] or [efficientnet.WEIGHTS_SHA256]
    return f"{network}@{'+'.join(digest[:12] for digest in hashes)}"


class Viewer:
    """Looks at batches with the networks of `views`, which it loads on `device`; weights: of `weights_of`."""

    def __init__(
        self, views: Iterable[str], weights: Mapping[str, str], store: str, device: Literal["cpu", "cuda"]
    ) -> None:
        self._device = torch.device(device)
        self._views = {name: view for name in views if (view := parse(name))}
        self._networks = {
            network: [load_network(name, weights[name], store, device) for name in FEATURES[network].networks]
            or [efficientnet.load()[0].to(device)]  # the one whose weights come with a package
            for network in dict.fromkeys(view.network for view in self._views.values())
        }

    @torch.inference_mode()
    def __call__(self, given: Mapping[str, Any]) -> dict[str, Tensor]:
        """View -> float32 (B, dims) on the CPU, each computed once.

        given: `result` and what the pairs give, pictures (B, 3, H, W) in [0, 1] or B of them (3, h, w), or B texts.
        """
        return {
            name: FEATURES[view.network]
            .compute()(*self._networks[view.network], *(self._moved(given[of]) for of in view.of))
            .float()
            .cpu()
            for name, view in self._views.items()
        }

    def _moved(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(self._device)
        return [self._moved(item) for item in value] if isinstance(value, list) else value
