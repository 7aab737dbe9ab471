"""Figures that papers print, for tables that show them beside ours, marked as published.

Copied as printed, with where they stand; who reads them next to ours must know that the corpus, the weights of the
metrics and the sampler were others.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedTable:
    """rows: method -> figure by the name of its column; columns: the protocol and the metric of each column."""

    title: str
    columns: Mapping[str, tuple[str, str]]
    rows: Mapping[str, Mapping[str, float]]


def _rows(columns: Mapping[str, tuple[str, str]], rows: Mapping[str, tuple[float, ...]]) -> dict[str, dict[str, float]]:
    return {method: dict(zip(columns, figures, strict=True)) for method, figures in rows.items()}


_TABLE_1 = {"GS-3": ("table1-002", "fid"), "GS-5": ("table1-002", "fid")}
_TABLE_2 = {"FID": ("table2-002", "fid")}
_TABLE_I = {
    "aesthetic": ("table-I-000", "aesthetic"),
    "FID": ("table-I-000", "fid"),
    "PSNR": ("table-I-000-deformed", "psnr"),
    "MS-SSIM": ("table-I-000-deformed", "ms_ssim"),
    "CLIP": ("table-I-000-deformed", "clip_ground_truth"),
}
_TABLE_42 = {"FID": ("table-4.2", "fid")}
_RASC = {f"FID, set {name}": (f"rasc-{name}", "fid") for name in "ABC"}

TABLES: dict[str, PublishedTable] = {
    "table1-002": PublishedTable(
        "ColorizeDiffusion, Table 1: 50K-FID, uniform noise levels",
        _TABLE_1,
        _rows(
            _TABLE_1,
            {
                "CLS token, Proj-0.1": (10.5273, 10.3981),
                "CLS token, CLS-0.1": (17.6103, 24.2609),
                "Drop-0.5, epoch 5": (7.9077, 8.2407),
                "Drop-0.5, epoch 7": (8.1842, 9.1032),
                "Noisy trained, epoch 5": (9.4761, 10.9010),
                "Proposed, epoch 7": (7.3676, 6.8551),
            },
        ),
    ),
    "table2-002": PublishedTable(
        "ColorizeDiffusion, Table 2: 50K-FID, Karras noise levels",
        _TABLE_2,
        _rows(
            _TABLE_2,
            {
                "Proposed, GS-5": (5.5272,),
                "CN-Linear + SD v1.5 + IP-Adapter-vitH": (25.8390,),
                "CN-Linear + SD v1.5 + IP-Adapter-vitG": (27.7849,),
                "CN-Anime + Anything v3 + IP-Adapter-ft": (23.2523,),
                "CN-Anime + Anything v3 + IP-Adapter-vitH": (39.2049,),
                "CN-Anime + Anything v3 + IP-Adapter-vitG": (27.5994,),
                "CN-Anime + Anything v3 + Self-injection": (21.0125,),
                "AnimeDiffusion": (62.3451,),
                "Yan et al.": (26.1816,),
                "CN-Anime + Anything v3, text": (20.1411,),
                "CN-Anime + Anything v3, mismatched text": (27.4624,),
            },
        ),
    ),
    "table-I-000": PublishedTable(
        "Separating reference representations, Table I: 768 x 768 (*: 512 x 512)",
        _TABLE_I,
        _rows(
            _TABLE_I,
            {
                "Proposed (v2)": (5.1859, 5.6330, 29.3626, 0.7081, 0.9056),
                "ColorizeDiffusion": (4.8351, 9.6423, 28.7215, 0.5899, 0.8753),
                "IP-Adapter": (4.6627, 38.9232, 28.5124, 0.5464, 0.8632),
                "InstantStyle": (4.7150, 40.2134, 28.0921, 0.4467, 0.8039),
                "T2I-Adapter": (4.2647, 41.1569, 28.1321, 0.3194, 0.7134),
                "MangaNinja *": (4.1738, 42.9741, 29.5741, 0.6715, 0.7304),
                "Yan et al. *": (4.7923, 27.0032, 29.1293, 0.5239, 0.8894),
            },
        ),
    ),
    "table-4.2": PublishedTable(
        "Thesis, Table 4.2: FID of 7,000 triples",
        _TABLE_42,
        _rows(
            _TABLE_42,
            {
                "RBCA, Attention": (11.2390,),
                "RBCA, Add": (11.8531,),
                "without RBCA, Attention": (15.6212,),
                "without RBCA, Add": (13.6563,),
                "D+Train": (23.1408,),
                "I+Fix": (30.5746,),
                "I+Train": (51.3302,),
                "Train": (57.0753,),
                "M-Attention": (12.3845,),
                "M-Add": (11.9800,),
                "StarGAN v2": (34.8503,),
                "IconGAN": (59.6767,),
                "SCFT": (62.1494,),
                "MUNIT": (121.5455,),
            },
        ),
    ),
    "rasc": PublishedTable(
        "RASC, Table I: FID of three test sets, 256 x 256",
        _RASC,
        _rows(
            _RASC,
            {
                "RASC": (29.3, 25.5, 47.1),
                "Deoldify": (64.7, 76.5, 104.1),
                "GCPGAN": (40.6, 43.0, 67.8),
                "Canna": (108.7, 103.2, 139.0),
                "Tanpopo": (81.3, 85.4, 106.3),
                "Satsuki": (125.8, 81.9, 113.1),
                "CCGAN": (45.3, 45.0, 73.7),
                "AlacGAN": (53.4, 52.3, 84.4),
                "DPGAN": (52.3, 50.4, 80.3),
                "Style2Paints": (83.7, 70.1, 102.3),
                "CWR": (44.6, 39.2, 59.4),
                "ControlNet": (69.2, 83.5, 69.0),
            },
        ),
    ),
}


def table_of(protocol: str) -> PublishedTable | None:
    """The table that has a column of this protocol."""
    return next((table for table in TABLES.values() if protocol in {name for name, _ in table.columns.values()}), None)
