"""The published evaluations by name: how many pairs, at which size, how drawn, how sampled, and what is reported.

Each is another protocol with the settings that its paper states; what the paper leaves open is the checkpoint's own, or
ours, and stands in docs/evaluation.md. A call may set anything otherwise, which the scores then say.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eval.protocols.deformed_reference import DEFORMED_REFERENCE
from eval.protocols.protocol import EvaluationProtocol, PublishedSettings
from eval.protocols.uniform_reference import UNIFORM_REFERENCE

_STEPS = 20  # ColorizeDiffusion 4.1
# "Uniform" and Karras noise levels (Tables 1 and 2); the solver is ours, none is named.
_UNIFORM: Mapping[str, Any] = {"steps": _STEPS, "sampler": "dpmpp_2m", "guidance_scale": 5.0}
_KARRAS: Mapping[str, Any] = {"steps": _STEPS, "sampler": "dpmpp_2m_karras", "guidance_scale": 5.0}


def _published(
    name: str, base: EvaluationProtocol, metrics: tuple[str, ...], source: str, settings: PublishedSettings
) -> EvaluationProtocol:
    return replace(base, name=name, metrics=metrics, source=source, settings=settings)


def _settings(pairs: int | None, side: int | None, sampling: Mapping[str, Any] | None = None) -> PublishedSettings:
    return PublishedSettings(pairs, None if side is None else (side, side), "squash", sampling or {})


PUBLISHED = (
    _published(
        "table1-002",
        UNIFORM_REFERENCE,
        ("fid",),
        "ColorizeDiffusion Table 1, column GS-5; GS-3 by --guidance-scale 3",
        _settings(50_000, 512, _UNIFORM),
    ),
    _published("table2-002", UNIFORM_REFERENCE, ("fid",), "ColorizeDiffusion Table 2", _settings(50_000, 512, _KARRAS)),
    _published(
        "table-I-000",
        UNIFORM_REFERENCE,
        ("aesthetic", "fid"),
        "Separating reference representations, Table I, random references; the rows at 512 x 512 by --size 512x512",
        _settings(None, 768),
    ),
    _published(
        "table-I-000-deformed",
        DEFORMED_REFERENCE,
        ("psnr", "ms_ssim", "clip_ground_truth"),
        "Separating reference representations, Table I, deformed references",
        _settings(5_000, 768),
    ),
    _published("table-4.2", UNIFORM_REFERENCE, ("fid",), "thesis 4.2.4, Table 4.2", _settings(7_000, None)),
    *(
        _published(
            f"rasc-{name}", UNIFORM_REFERENCE, ("fid",), f"RASC IV, Table I, test set {name}", _settings(count, 256)
        )
        for name, count in (("A", 1_969), ("B", 2_778), ("C", 1_194))
    ),
)
