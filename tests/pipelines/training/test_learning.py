"""The whole of training put to the proof: a network that sees 16 rows again and again can draw them."""

from pathlib import Path

import pytest
import torch

from dataprep.samples.sample import evaluation_sample
from eval.metrics.psnr import psnr
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.recipes.stages import stage_recipe
from pipelines.training.feeder import open_split, sample_settings, stacked
from pipelines.training.stage import plan_stage, train_stage
from pipelines.training.step import build_stage
from pipelines.weights.frozen import open_colorist
from tests.pipelines.training.train_helpers import make_bench

ROWS = 16
IMAGES = 10_000


@pytest.mark.slow
@pytest.mark.ray
def test_sixteen_rows_are_learned_by_heart(ray_engine: None, tmp_path: Path) -> None:
    bench = make_bench(tmp_path, train=ROWS)
    recipe = stage_recipe("v1.noisy", "tiny").changed(
        images=IMAGES,
        decay_images=IMAGES // 2,
        noisy_reference=False,
        reference_drop=0.0,
        sketch_crop_max=0.0,
        rescale_max=1.0,
        sample_images=IMAGES,
        validate_images=IMAGES,
    )
    plan = plan_stage(recipe, bench.corpus, str(tmp_path / "out"), None, workers=2)
    report = train_stage(plan, log_file=tmp_path / "train.log", tracking_uri=bench.store)

    pipeline = open_colorist(Path(report.checkpoint))
    needs = build_stage(recipe, None, torch.device("cpu"))[0].needs
    reader = open_split(bench.corpus, "train", recipe, needs, plan.snapshot)
    settings = sample_settings(recipe, needs)
    samples = [evaluation_sample(reader.row(index), settings, "drawn") for index in range(ROWS)]
    pictures = stacked(samples, {}).pictures
    sketches, colors, references = (pictures[name] for name in ("sketch", "color", "reference"))
    results = pipeline(sketches, references, list(range(ROWS)), settings=SamplingSettings(guidance_scale=1.0))
    truth = (colors + 1) / 2
    fill = truth.mean(dim=(2, 3), keepdim=True).expand_as(truth)
    learned = psnr(((results + 1) / 2).clamp(0, 1), truth)
    constant = psnr(fill, truth)
    print(f"\nlearned {learned.mean():.2f} dB, mean-colour fill {constant.mean():.2f} dB, loss {report.loss:.4f}")
    assert learned.mean() >= 20
    assert learned.mean() >= constant.mean() + 5
