"""What does tiny `v1` learn, and does the paper's training order help it? `python -m benchmarks.learning`

Trains arms with equal numbers of images, batches, rates and sizes, on drawings assembled from an artist's parts (their
right answer is known) and on storybook pictures, where those are at hand; then scores them on unseen templates and
stories, every arm on the same pairs with the same noise:

- `drop-0.5`: half of the references dropped, no noise (the ablation of ColorizeDiffusion section 4.2);
- `noisy`: noisy-reference training only;
- `proposed`: noisy-reference training, then refinement, in the paper's 5 : 2 (`--refine-share`).

Known answer: share of results nearer in Lab to the answer for their own reference than to that for another, with its
Wilson bounds; the same with the reference dropped, which must be chance; PSNR; the leak of the reference's layout into
the sketch's paper (eval/metrics/layout_leak.py). Storybook: Fréchet distance of a substitute network with random
references, PSNR and MS-SSIM with a deformed one. Differences between arms carry paired bootstrap intervals. The bar,
for the last arm: lower bound of the share above 0.6, dropped between 0.45 and 0.55. The same command again goes on
where it stopped. The intervals are over pairs: an arm is trained once, so they do not hold how much one training
differs from the next (`--seed` trains and pairs anew).

With the reference dropped the two results of a couple are drawn with independent noise, so that chance is measured and
not arranged.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks.learning.table import Arm, compare, table
from dataprep.corpus.reader import CorpusReader
from dataprep.lines.region_map import RegionSettings
from dataprep.storage.store import delete_folder, exists, read_bytes
from eval.protocols.deformed_reference import deformed_reference
from eval.protocols.pairing import Pair
from eval.protocols.random_reference import random_reference
from model.diffusion.sampling_settings import SamplingSettings
from pipelines.common.progress import Progress
from pipelines.common.shipped_pictures import ASSEMBLED
from pipelines.corpus_build.build import build_corpus
from pipelines.evaluation.evaluate import evaluate
from pipelines.evaluation.features import read_features, read_results
from pipelines.evaluation.lookup import find_protocol
from pipelines.evaluation.plan import EvaluatePlan, plan_evaluation
from pipelines.execution.ray_session import ray_session
from pipelines.recipes.corpora import CORPUS_RECIPES
from pipelines.recipes.stage_recipe import StageRecipe
from pipelines.recipes.stages import stage_recipe
from pipelines.training.stage import plan_stage, train_stage

STORYBOOK = Path(__file__).parents[3] / "shared" / "data" / "storybook"
ARMS = ("drop-0.5", "noisy", "proposed")
VALIDATION_SHARE = 0.2  # of storybook's rows enough for the covariance of a Fréchet distance
DECAY_IMAGES = 4_000


def main() -> None:
    """Build, train, score; prints the table and writes learning.json and learning.md."""
    arguments = parse()
    out = Path(arguments.out)
    log_file, store = out / "engines.log", f"sqlite:///{out / 'mlflow.db'}"
    common: dict[str, Any] = {"log_file": log_file, "progress": print_news, "tracking_uri": store}
    with ray_session(log_file, num_cpus=max(arguments.workers + 2, psutil.cpu_count() or 1)):
        corpus = str(out / "corpus")
        recipe = replace(CORPUS_RECIPES["demo"], validation_share=VALIDATION_SHARE, regions=RegionSettings(lines=()))
        sources = [ASSEMBLED, *([arguments.storybook] if arguments.storybook else [])]
        build_corpus(sources, corpus, recipe, **common)
        arms = []
        for name in arguments.arms:
            started = time.monotonic()
            checkpoint = train(name, arguments, corpus, out / name, common)
            minutes = (time.monotonic() - started) / 60
            arms.append(Arm(name, minutes, score(checkpoint, arguments, corpus, out / name, common)))
    result = {"arguments": vars(arguments), "rows": _rows(corpus), **compare(arms)}
    (out / "learning.json").write_text(json.dumps(result, indent=2))
    text = table(result)
    (out / "learning.md").write_text(text)
    print(text)


def parse() -> argparse.Namespace:
    """What the call asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/learning")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--images", type=int, default=16_000, help="training images of each arm, all stages together")
    parser.add_argument("--refine-share", type=float, default=2 / 7, help="of the proposed arm's images")
    parser.add_argument("--storybook", default=str(STORYBOOK) if STORYBOOK.is_dir() else "", help="empty: without it")
    parser.add_argument("--pairs", type=int, default=400, help="of a protocol, at most; random-reference takes all")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance-scale", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def stages(arm: str, images: int, refine_share: float, seed: int) -> list[StageRecipe]:
    """The stages of an arm; the rate falls over the last images of every arm alike."""
    batch = stage_recipe("v1.refine", "tiny").length.batch_size
    refine = round(images * refine_share / batch) * batch  # whole batches, so that no arm sees more
    lengths = {
        "drop-0.5": {"v1.drop-0.5": images},
        "noisy": {"v1.noisy": images},
        "proposed": {"v1.noisy": images - refine, "v1.refine": refine},
    }[arm]
    last = list(lengths)[-1]
    return [
        stage_recipe(stage, "tiny").changed(
            images=length, seed=seed, decay_images=min(DECAY_IMAGES, length) if stage == last else 0
        )
        for stage, length in lengths.items()
    ]


def train(arm: str, arguments: argparse.Namespace, corpus: str, out: Path, common: dict[str, Any]) -> str:
    """Where the arm's trained model lies."""
    parent = None
    for recipe in stages(arm, arguments.images, arguments.refine_share, arguments.seed):
        plan = plan_stage(recipe, corpus, str(out / recipe.stage), parent, arguments.workers)
        train_stage(plan, **common)
        parent = str(out / recipe.stage)
    assert parent is not None
    return parent


def score(
    checkpoint: str, arguments: argparse.Namespace, corpus: str, out: Path, common: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Protocol -> scores and the rows of single pairs."""
    sampling = SamplingSettings(steps=arguments.steps, guidance_scale=arguments.guidance_scale)
    known = plan_evaluation(
        checkpoint,
        corpus,
        "known-answer",
        str(out / "score"),
        sampling=sampling,
        limit=arguments.pairs,
        seed=arguments.seed,
    )
    plans = {"known-answer": known, "reference dropped": without_reference(known, str(out / "dropped"))}
    groups = _pictures(corpus)
    if groups:
        random = random_reference(list(groups), list(groups), arguments.seed, groups)  # a covariance needs them all
        deformed = deformed_reference(list(groups), arguments.seed)[: arguments.pairs]
        plans |= {
            "random-reference": _over(known, "random-reference", str(out / "random"), random),
            "deformed-reference": _over(known, "deformed-reference", str(out / "deformed"), deformed),
        }
    return {name: {"scores": _scored(plan, common), **_kept(plan)} for name, plan in plans.items()}


def _kept(plan: EvaluatePlan) -> dict[str, Any]:
    """The rows of a finished evaluation, and its features where it kept some."""
    features = read_features(plan.out) if plan.keep_features and plan.vectors else {}
    return {"rows": read_results(plan.out), "features": features}


def _scored(plan: EvaluatePlan, common: dict[str, Any]) -> dict[str, Any]:
    """The scores of a plan, read back where these weights have been scored so before."""
    saved = f"{plan.out}/scores.json"
    if exists(saved):
        document: dict[str, Any] = json.loads(read_bytes(saved))
        if same_evaluation(plan, document):
            return dict(document["scores"])
        delete_folder(plan.out)  # other weights were scored here
    return dict(evaluate(plan, **common)["scores"])


def same_evaluation(plan: EvaluatePlan, document: dict[str, Any]) -> bool:
    """Whether a saved document scores these weights on as many pairs with the same sampling."""
    wanted = {
        "checkpoint_weights": plan.weights_sha256,
        "corpus_digest": plan.digest,
        "samples": len(plan.pairs),
        "sampling": json.loads(json.dumps(asdict(plan.sampling))),
        "seed": plan.seed,
    }
    return {name: document.get(name) for name in wanted} == wanted


def _pictures(corpus: str) -> dict[str, str | None]:
    """id -> group of the validation rows that nobody assembled."""
    reader = CorpusReader(corpus, "validation", ())
    rows = (reader.row(index) for index in range(len(reader)))
    return {row["id"]: row["group"] for row in rows if not row["assembly"]}


def _rows(corpus: str) -> dict[str, int]:
    return {split: len(CorpusReader(corpus, split, ())) for split in ("train", "validation")}


def _over(plan: EvaluatePlan, protocol: str, out: str, pairs: list[Pair]) -> EvaluatePlan:
    metrics = find_protocol(protocol).metrics
    return replace(plan, protocol=protocol, metrics=metrics, out=out, pairs=tuple(pairs), keep_features=True)


def without_reference(plan: EvaluatePlan, out: str) -> EvaluatePlan:
    """The same pairs with no reference, each with noise of its own."""
    pairs = tuple(
        Pair(pair.sketch_id, pair.reference_id, (pair.seed + 7919 * number) % 2**31, pair.other_reference_id)
        for number, pair in enumerate(plan.pairs)
    )
    return replace(plan, out=out, pairs=pairs, without_reference=True)


def print_news(news: Progress) -> None:
    """A line now and then, and at the end."""
    if news.done >= news.total or news.done % 1600 == 0:
        print(f"{news.stage}: {news.done:,}/{news.total:,} {news.unit} {news.note}", flush=True)


if __name__ == "__main__":
    main()
