"""How fast is the corpus engine? `python -m benchmarks.corpus --out runs/corpus-speed`

Each section measures ours and a peer in the same run, prints a table with the ratio and says whether the bar is met.
The tables are kept as corpus.json and corpus.md. `--only decode,regions` takes some sections; small numbers make a
quick, rough run. Times want a machine that does nothing else.
"""

import argparse
import json
import platform
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.measuring import Section, fresh, markdown, source_of
from pipelines.common.versions import VERSION

Run = Callable[[argparse.Namespace, str, Path], Section]


def decode_section(arguments: argparse.Namespace, source: str, _: Path) -> Section:
    from benchmarks.corpus import decode as corpus_decode

    return corpus_decode.run(source, arguments.mosaics, arguments.rounds)


def regions_section(arguments: argparse.Namespace, source: str, _: Path) -> Section:
    from benchmarks.corpus import regions as corpus_regions

    return corpus_regions.run(source, arguments.drawings)


def counts_section(arguments: argparse.Namespace, source: str, _: Path) -> Section:
    from benchmarks.corpus import region_counts

    return region_counts.run(source, arguments.counted)


def pipeline_section(arguments: argparse.Namespace, source: str, out: Path) -> Section:
    from benchmarks.corpus import pipeline as corpus_pipeline

    return corpus_pipeline.run(source, arguments.count, arguments.runs, out, arguments.workers, arguments.shard_rows)


def memory_section(arguments: argparse.Namespace, source: str, out: Path) -> Section:
    from benchmarks.corpus import memory as corpus_memory

    return corpus_memory.run(source, arguments.rows, out, arguments.workers)


def reader_section(arguments: argparse.Namespace, source: str, out: Path) -> Section:
    from benchmarks.corpus import reader as corpus_reader

    # The DataLoader forks, and a process that has run other sections holds threads and locks that a fork would copy.
    sizes = (arguments.rows, arguments.batches, arguments.runs)
    return fresh(corpus_reader.run, source, *sizes, out, arguments.workers)


def scale_section(arguments: argparse.Namespace, _: str, out: Path) -> Section:
    from benchmarks.corpus import scale as corpus_scale

    return fresh(corpus_scale.run, arguments.scale_rows, out)  # the peak of memory is that of this section


SECTIONS: dict[str, Run] = {
    "decode": decode_section,
    "regions": regions_section,
    "counts": counts_section,
    "pipeline": pipeline_section,
    "memory": memory_section,
    "reader": reader_section,
    "scale": scale_section,
}


def main() -> None:
    """Run the sections, print their tables as they end, keep them all."""
    arguments = _arguments()
    source, pictures = source_of(arguments.pictures)
    arguments.out.mkdir(parents=True, exist_ok=True)
    machine = f"{psutil.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("opencv-python-headless", "pillow", "ray", "pyarrow"))
    head = f"Irodori {VERSION} on {pictures}; {machine}; {versions}"
    print(head, end="\n\n", flush=True)
    sections: list[Section] = []
    for name in arguments.only:
        with tempfile.TemporaryDirectory(dir=arguments.out, prefix=f"{name}-") as work:
            sections.append(SECTIONS[name](arguments, source, Path(work)))
        print(markdown(sections[-1]), flush=True)
        _keep(arguments.out, head, sections)


def _keep(out: Path, head: str, sections: list[Section]) -> None:
    found = {"head": head, "sections": [asdict(section) for section in sections]}
    (out / "corpus.json").write_text(json.dumps(found, indent=2))
    (out / "corpus.md").write_text("\n".join([head + "\n", *map(markdown, sections)]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_names, default=list(SECTIONS), help=f"sections, of {','.join(SECTIONS)}")
    parser.add_argument("--pictures", help="a folder of pictures; else ../shared/data/storybook, else the shipped ones")
    parser.add_argument("--out", type=Path, default=Path("runs/corpus-speed"))
    parser.add_argument("--mosaics", type=int, default=4, help="decode: pictures of each size and format")
    parser.add_argument("--rounds", type=int, default=9, help="decode: turns of each rival")
    parser.add_argument("--drawings", type=int, default=24, help="regions: pictures of each size")
    parser.add_argument("--counted", type=int, default=300, help="counts: pictures whose regions are counted")
    parser.add_argument("--count", type=int, default=1024, help="pipeline: pictures")
    parser.add_argument("--runs", type=int, default=3, help="pipeline: runs of each engine")
    parser.add_argument("--shard-rows", type=int, default=64, help="pipeline: pictures of a shard")
    parser.add_argument("--rows", type=int, default=200, help="memory: rows of the smaller build; reader: rows")
    parser.add_argument("--batches", type=int, default=40, help="reader: batches of each run")
    parser.add_argument("--scale-rows", type=int, default=6_000_000, help="scale: rows without pixels")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in SECTIONS]:
        raise argparse.ArgumentTypeError(f"no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    return names


if __name__ == "__main__":
    main()
