from collections.abc import Iterator

import pytest
import torch

from model.families.v1.network import V1
from model.frozen.codec import ImageCodec, build_codec
from model.frozen.image_encoder import ReferenceEncoder, build_image_encoder
from tests.model.golden import rule_model


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def ruled() -> tuple[V1, dict[str, torch.Tensor]]:
    """A v1 with the golden weights, and those weights by official key."""
    return rule_model()


@pytest.fixture(scope="session")
def codec() -> ImageCodec:
    torch.manual_seed(1)
    return build_codec("tiny", scaling_factor=0.5).eval()


@pytest.fixture(scope="session")
def image_encoder() -> ReferenceEncoder:
    torch.manual_seed(2)
    return build_image_encoder("tiny").eval()
