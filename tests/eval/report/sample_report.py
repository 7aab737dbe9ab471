"""A small but complete report: two drawn figures, a strip, scores, curves, lineage and credits."""

import cv2
import numpy as np

from eval.report.page import (
    Credit,
    LineageStep,
    LossCurve,
    Report,
    ReportPicture,
    ReportScore,
    ReportStrip,
    StripFrame,
)

WARM = {"background": (246, 214, 170), "hair": (150, 60, 40), "skin": (250, 220, 196), "clothes": (60, 110, 140)}
COLD = {"background": (176, 200, 232), "hair": (52, 60, 110), "skin": (226, 190, 170), "clothes": (220, 200, 90)}
BLANK = dict.fromkeys(WARM, (255, 255, 255))


def draw(colors: dict[str, tuple[int, int, int]], lean: int = 0, size: int = 128) -> np.ndarray:
    """A figure with hair and clothes, uint8 (size, size, 3), lines black."""
    scale = 4
    canvas = np.full((size * scale, size * scale, 3), colors["background"], np.uint8)

    def blob(part: str, centre: tuple[int, int], axes: tuple[int, int]) -> None:
        spot = tuple(v * scale * size // 128 for v in centre)
        radii = tuple(v * scale * size // 128 for v in axes)
        cv2.ellipse(canvas, spot, radii, 0, 0, 360, colors[part], -1, cv2.LINE_AA)
        cv2.ellipse(canvas, spot, radii, 0, 0, 360, (20, 20, 20), 5, cv2.LINE_AA)

    blob("hair", (64 + lean, 54), (36, 38))
    blob("clothes", (64, 124), (40, 34))
    blob("skin", (64 + lean, 60), (25, 29))
    blob("hair", (64 + lean, 32), (30, 13))
    for x in (54, 74):
        blob("hair", (x + lean, 62), (3, 5))
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)


def png(rgb: np.ndarray) -> bytes:
    return cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()


def learned(rgb: np.ndarray, share: float) -> np.ndarray:
    """What a model that knows `share` of the answer might draw: a blur between mud and the truth."""
    mud = np.full_like(rgb, 150)
    blurred = cv2.GaussianBlur(rgb, (0, 0), 0.4 + 6 * (1 - share))
    return cv2.addWeighted(blurred, share, mud, 1 - share, 0)


def sample_picture(title: str, lean: int, colors: dict, reference: dict) -> ReportPicture:
    truth = draw(reference, lean)
    return ReportPicture(
        title=title,
        caption="an unrelated reference",
        sketch=png(draw(BLANK, lean)),
        reference=png(draw(reference, -lean)),
        result=png(learned(truth, 0.9)),
        truth=png(truth),
        truth_note="drawn exactly",
        numbers=(("PSNR", "21.3 dB"), ("hair", "19.8 dB"), ("clothes", "22.4 dB")),
        command=f"irodori colorize --sketch demo/pictures/{title.split()[0]}-sketch.png "
        f"--reference demo/pictures/{title.split()[0]}-reference.png --checkpoint demo/checkpoint --seed 17 "
        "--steps 20 --guidance-scale 3 --out again.png",
    )


def sample_report(title: str = "First light") -> Report:
    shares = (0.0, 0.25, 0.5, 0.7, 0.8, 0.86, 0.9)
    rng = np.random.default_rng(0)
    seen = np.arange(0, 12_800, 16)
    noisy = 0.12 + 0.7 * np.exp(-seen / 2500) + rng.normal(0, 0.03, seen.size)
    refine = 0.11 + 0.04 * np.exp(-seen[:200] / 900) + rng.normal(0, 0.02, 200)
    return Report(
        title=title,
        summary="A tiny model learned in six minutes to take the lines of one picture and the colours of another. "
        "On 200 unrelated pairs, 87 % of its results are nearer to their own reference than to another.",
        pictures=(
            sample_picture("adventurer 12 in the colours of 7", 6, WARM, COLD),
            sample_picture("open-peeps 3 in the colours of 40", -5, COLD, WARM),
        ),
        strips=(
            ReportStrip(
                "adventurer 12 in the colours of 7",
                png(draw(BLANK, 6)),
                png(draw(COLD, -6)),
                tuple(
                    StripFrame(i * 2560, png(learned(draw(COLD, 6), s)), "v1.noisy" if i < 6 else "v1.refine")
                    for i, s in enumerate(shares)
                ),
            ),
        ),
        scores=(
            ReportScore(
                "known-answer",
                0.87,
                "Share of results nearer to the truth of their own reference than to that of another; chance is 0.5.",
                samples=200,
                protocol="known-answer",
                interval=(0.816, 0.910),
            ),
            ReportScore(
                "psnr", 18.62, "Closeness to the original; higher is better.", "dB", "", 64, "deformed-reference"
            ),
            ReportScore("ms_ssim_4scales", 0.8123, "Same shapes and shading as the original; 1 is equal.", samples=64),
            ReportScore(
                "fid_efficientnet_lite0_320",
                None,
                "How alike the results and real pictures are as a set; lower is better.",
                reason="64 samples; 321 are needed (320 feature dimensions + 1)",
                samples=64,
                protocol="random-reference",
                feature_network="efficientnet_lite0_320@579344248a93",
            ),
        ),
        curves=(
            LossCurve("v1.noisy", tuple(zip(seen.tolist(), noisy.tolist(), strict=True))),
            LossCurve("v1.refine", tuple(zip(seen[:200].tolist(), refine.tolist(), strict=True))),
        ),
        lineage=(
            LineageStep("sources", "DiceBear, Ren'Py, OpenMoji", (("pictures", "842"), ("rejected", "1 unreadable"))),
            LineageStep(
                "corpus",
                "snapshot 1",
                (("digest", "9f31c0de4a52"), ("rows", "712 train, 129 validation")),
                (("sketch_xdog", "4f0a1bb2c3d4"), ("region_map", "77ab01cd22ef")),
            ),
            LineageStep("stage", "v1.noisy", (("images", "12,800"),), (("lr", "1e-4"), ("global batch", "16"))),
            LineageStep("stage", "v1.refine", (("images", "3,200"),), (("lr", "1e-4"), ("global batch", "16"))),
            LineageStep(
                "evaluation", "known-answer", (("sampler", "DPM++ 2M Karras"), ("steps", "20"), ("guidance", "3"))
            ),
        ),
        commands=(("Open the runs in MLflow", "mlflow ui --backend-store-uri sqlite:///demo/mlflow.db"),),
        credits=(
            Credit("Adventurer", "Lisa Wischofsky", "CC BY 4.0", "https://www.dicebear.com/styles/adventurer/"),
            Credit("Open Peeps", "Pablo Stanley", "CC0 1.0"),
        ),
    )
