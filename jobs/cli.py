"""The command line `irodori`: parse, build, run. What a command does lives in `pipelines`.

Exit codes: 0 done; 2 the call was wrong; 1 anything missing, refused or failed beyond the call. Heavy imports happen
inside the commands, so that help and wrong calls answer at once.
"""

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from dataprep.errors import DataError
from eval.errors import EvalError
from jobs.console import Console, engines_log_to, silence
from model.errors import ModelError
from pipelines.errors import PipelineError
from pipelines.settings import SettingsError, nearest, override, parse_assignments, read_overrides

if TYPE_CHECKING:
    from model.sampling import SamplingSettings
    from pipelines.recipes import StageRecipe

REFUSED = (DataError, ModelError, EvalError, PipelineError)


class NamingGroup(TyperGroup):
    """A group that answers an unknown command with the nearest valid ones, or with all where none is near."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise SettingsError(f"there is no command {args[0]!r}: {nearest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=NamingGroup,
    help="Reference-based sketch colorization at scale: build a corpus, train, colorize, evaluate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
corpus_app = typer.Typer(cls=NamingGroup, help="Build, inspect and verify a corpus.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")

Set = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override one setting of the recipe.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")]
Workers = Annotated[int, typer.Option(min=1, help="Training workers (one for each GPU, or CPU processes).")]
Address = Annotated[str | None, typer.Option(help="A Ray cluster to run on; without it, this machine.")]
Tracking = Annotated[
    str | None, typer.Option(help="The MLflow store; default MLFLOW_TRACKING_URI, else irodori.db here (SQLite).")
]


@corpus_app.command("build")
def corpus_build(
    source: Annotated[list[str], typer.Option(help="A folder of pictures, or an s3:// prefix; may be repeated.")],
    out: Annotated[str, typer.Option(help="Where the corpus is or will be.")],
    recipe: Annotated[str, typer.Option(help="The name of a recipe, or a YAML file of settings.")] = "plain",
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first N pictures of the sources.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="CPUs to use; all by default.")] = None,
    address: Address = None,
    tracking_uri: Tracking = None,
    dry_run: DryRun = False,
    set_: Set = [],  # noqa: B006 (typer reads the default, nothing changes it)
) -> None:
    """Build or extend a corpus from pictures; only what is missing is computed."""
    from dataprep.operators import CORPUS_RECIPES

    resolved = override(_named_or_file(recipe, CORPUS_RECIPES), parse_assignments(set_))
    from pipelines.build import build_corpus

    folder = None if dry_run else _log_folder(out)
    with _engines(folder, "corpus-build") as (console, log_file):
        report = build_corpus(
            source,
            out,
            resolved,
            limit=limit,
            dry_run=dry_run,
            progress=console.progress,
            log_file=log_file,
            workers=workers,
            address=address,
            tracking_uri=tracking_uri,
        )
        console.result(report.summary())


@corpus_app.command("info")
def corpus_info(uri: str, json_: Json = False) -> None:
    """Snapshot, digest, rows, rejects, operators and bytes of a corpus."""
    from dataprep.corpus import info

    _show(info(uri), json_)


@corpus_app.command("verify")
def corpus_verify(uri: str) -> None:
    """Read every file again: hashes, schema, alignment, pictures. Exit 1 names what is damaged."""
    from dataprep.verify import verify

    damages = verify(uri)
    if damages:
        raise DataError("\n".join([f"{uri}: {len(damages)} damaged:", *damages]))
    _tell(f"{uri}: every file is whole.")


@app.command()
def train(
    stage: Annotated[str, typer.Argument(help="The stage, such as v1.noisy or v1.refine.")],
    corpus: Annotated[str, typer.Option(help="The corpus to train on.")],
    out: Annotated[str, typer.Option(help="Where checkpoints, samples and history go. The same again resumes.")],
    model_size: Annotated[str, typer.Option(help="tiny (two CPU cores) or base (published size).")] = "tiny",
    from_: Annotated[str | None, typer.Option("--from", help="The checkpoint that this stage continues.")] = None,
    workers: Workers = 1,
    address: Address = None,
    tracking_uri: Tracking = None,
    dry_run: DryRun = False,
    set_: Set = [],  # noqa: B006 (typer reads the default, nothing changes it)
) -> None:
    """Train one stage; run the same command again to resume."""
    from pipelines.addresses import check_buckets

    recipe = _stage_recipe(stage, model_size, from_, workers, set_)
    check_buckets(corpus, out, from_)
    from pipelines.train import plan_stage, train_stage

    plan = plan_stage(recipe, corpus, out, from_, workers)
    if dry_run:
        _tell(json.dumps(plan.document() | {"rows": plan.rows, "dealt_out": vars(plan.shares)}, indent=2))
        return
    with _engines(_log_folder(out), "train") as (console, log_file):
        report = train_stage(
            plan, log_file=log_file, progress=console.progress, tracking_uri=tracking_uri, address=address
        )
        how = "was complete already" if report.already_complete else "done"
        if report.resumed_from:
            how += f" (resumed from {report.resumed_from:,} images)" if not report.already_complete else ""
        console.result(f"{stage}: {how}, {report.images_seen:,} images, loss {report.loss:.4f}: {report.checkpoint}")


@app.command()
def colorize(
    sketch: Annotated[list[str], typer.Option(help="Line art: files or directories; may be repeated.")],
    reference: Annotated[list[str], typer.Option(help="Pictures whose colours to take; every sketch meets each.")],
    out: Annotated[str, typer.Option(help="A .png file for one picture, else a directory.")],
    checkpoint: Annotated[str, typer.Option(help="A trained model; default: the one of `irodori demo`.")] = "",
    resolution: Annotated[str, typer.Option(metavar="WxH", help="Fit into this size; default: the training's.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Decides the initial noise.")] = 0,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Sampling steps.")] = 20,
    guidance_scale: Annotated[float, typer.Option(help="How strongly to follow the reference.")] = 2.0,
) -> None:
    """Colour sketches after reference pictures."""
    size = _resolution(resolution)
    from pipelines.addresses import check_buckets
    from pipelines.colorize_jobs import find_pictures, folder_of, plan_jobs

    check_buckets(*sketch, *reference, checkpoint, out)
    jobs = plan_jobs(find_pictures(sketch), find_pictures(reference), out, seed)
    from pipelines.colorize import colorize as make
    from pipelines.demo import demo_checkpoint

    model = checkpoint or demo_checkpoint()
    with _engines(_log_folder(folder_of(out)), "colorize") as (console, _):
        for made in make(jobs, model, size, _sampling(steps, guidance_scale), console.progress):
            console.result(made)


@app.command()
def evaluate(
    checkpoint: Annotated[str, typer.Option(help="The model to score.")],
    corpus: Annotated[str, typer.Option(help="The corpus whose validation rows are used.")],
    protocol: Annotated[str, typer.Option(help="random-reference, deformed-reference, self or known-answer.")],
    out: Annotated[str, typer.Option(help="Where scores, pairs and pictures go.")],
    limit: Annotated[int | None, typer.Option(min=1, help="At most N pairs.")] = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Sampling steps.")] = 20,
    guidance_scale: Annotated[float, typer.Option(help="How strongly to follow the reference.")] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Decides pairs and noise.")] = 0,
    address: Address = None,
    tracking_uri: Tracking = None,
    json_: Json = False,
) -> None:
    """Score a checkpoint by a protocol."""
    from pipelines.addresses import check_buckets
    from pipelines.recipes import check_protocol

    check_protocol(protocol)
    check_buckets(checkpoint, corpus, out)
    from pipelines.evaluate import evaluate as run
    from pipelines.evaluate import plan_evaluation

    plan = plan_evaluation(
        checkpoint,
        corpus,
        protocol,
        out,
        sampling=_sampling(steps, guidance_scale),
        limit=limit,
        seed=seed,
    )
    with _engines(_log_folder(out), "evaluate") as (console, log_file):
        document = run(plan, log_file=log_file, progress=console.progress, tracking_uri=tracking_uri, address=address)
        console.result(json.dumps(document, indent=2) if json_ else _plain(document))


@app.command()
def lineage(
    uri_or_run: Annotated[str, typer.Argument(help="An output of irodori, or the id of an MLflow run.")],
    tracking_uri: Tracking = None,
    json_: Json = False,
) -> None:
    """The chain from a result back to its sources."""
    from pipelines.lineage import find_chain

    chain = find_chain(uri_or_run, tracking_uri)
    if json_:
        _tell(json.dumps(chain.document(), indent=2))
        return
    names = {node.id: f"{node.kind:<11} {node.name}  {node.id}" for node in chain.nodes}
    for node in reversed(chain.nodes):
        made_from = [names[start].split("  ")[0] for start, end in chain.edges if end == node.id]
        _tell(names[node.id] + (f"\n            made from: {'; '.join(made_from)}" if made_from else ""))


@app.command()
def doctor() -> None:
    """What this machine can run, what is missing, and the command that mends it."""
    from pipelines.doctor import examine

    findings = examine()
    for finding in findings:
        mark = {"ok": "ok      ", "missing": "MISSING ", "note": "note    "}[finding.state]
        _tell(f"{mark} {finding.what}" + (f"\n         mend: {finding.mend}" if finding.mend else ""))
    if any(finding.state == "missing" for finding in findings):
        raise PipelineError("something that irodori needs is missing; the lines above say how to mend it")


@app.command()
def demo(
    out: Annotated[str, typer.Option(help="Where everything goes; a local directory.")] = "demo",
) -> None:
    """The whole main job on the shipped pictures: corpus, training, evaluation, report."""
    from pipelines.demo import run_demo

    with _engines(_log_folder(out), "demo") as (console, log_file):
        console.say(f"The demo writes to {out}; engine logs go to {log_file}")
        console.result(run_demo(out, log_file=log_file, progress=console.progress, say=console.say))


def main() -> None:
    """Entry point: turns every failure into one clear line and the right exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line; returns the exit code."""
    try:
        code = int(app(arguments, prog_name="irodori", standalone_mode=False) or 0)
        sys.stdout.flush()
        return code
    except typer.exceptions.TyperException as error:
        return _wrong_call(error, arguments)
    except SettingsError as error:
        return _fail(2, str(error))
    except REFUSED as error:
        return _fail(1, str(error))
    except (typer.Abort, KeyboardInterrupt):
        return _fail(130, "stopped; the same command goes on from here")
    except BrokenPipeError:
        silence(sys.stdout)  # whoever read the output has seen enough
        return 0
    except ImportError as error:
        return _fail(1, f"{error}: run `irodori doctor` to see what is missing and how to mend it")
    except OSError as error:
        return _fail(1, f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Exception as error:
        return _fail(1, f"unexpected {type(error).__name__}: {error} (the whole story is in {_keep_story()})")


def _fail(code: int, message: str) -> int:
    print(f"irodori: {message}", file=sys.stderr)
    return code


def _tell(text: str) -> None:
    """A result on stdout."""
    Console(sys.stdout, sys.stderr).result(text)


def _keep_story() -> Path:
    """Write the traceback where the person can send it from, instead of into their face."""
    with tempfile.NamedTemporaryFile("w", prefix="irodori-crash-", suffix=".log", delete=False) as file:
        file.write(traceback.format_exc())
    return Path(file.name)


def _wrong_call(error: Any, arguments: list[str]) -> int:
    """A call that typer refused: what is wrong, and where help is; a call without arguments has printed the help."""
    message = error.format_message().strip()
    if not message:
        return 2
    context = getattr(error, "ctx", None)
    if context is not None and hasattr(error, "possibilities"):  # an unknown option
        options = [name for parameter in context.command.params for name in parameter.opts if name.startswith("--")]
        message = f"there is no option {error.option_name}: {nearest(error.option_name, [*options, '--help'])}"
    words = takewhile(lambda word: not word.startswith("-"), arguments)
    usage = context.command_path if context else " ".join(["irodori", *words])
    return _fail(2, f"{message.splitlines()[0]} (see: {usage} --help)")


@contextmanager
def _engines(folder: Path | None, command: str) -> Iterator[tuple[Console, Path]]:
    """A console, and the file in `folder` that takes what the engines print; None for work that starts no engine."""
    if folder is None:
        yield Console(sys.stdout, sys.stderr), Path(os.devnull)
        return
    log_file = folder / f"{command}.log"
    with engines_log_to(log_file) as console:
        yield console, log_file


def _log_folder(out: str) -> Path:
    """Logs lie beside a local output, and in the working directory for one on S3."""
    return Path("irodori-logs") if out.startswith("s3://") else Path(out)


def _stage_recipe(stage: str, model_size: str, parent: str | None, workers: int, changes: list[str]) -> "StageRecipe":
    """The resolved recipe of a call that can work; everything that is wrong with the call alone is told here."""
    from pipelines.recipes import check_parent_given, configured, stage_recipe
    from pipelines.shares import Shares

    recipe = configured(stage_recipe(stage, model_size), parse_assignments(changes))
    check_parent_given(recipe, parent)
    Shares.of(recipe, workers)
    return recipe


def _named_or_file(recipe: str, known: dict[str, Any]) -> Any:
    if recipe in known:
        return known[recipe]
    if Path(recipe).is_file():
        values = read_overrides(recipe)
        return override(_named_or_file(str(values.pop("base", "plain")), known), values)
    raise SettingsError(f"there is no recipe {recipe!r} and no such file: {nearest(recipe, known)}")


def _resolution(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) >= 8 for part in parts):
        raise SettingsError(f"--resolution {text} is not of the form WxH, such as 512x768")
    return int(parts[0]), int(parts[1])


def _sampling(steps: int, guidance_scale: float) -> "SamplingSettings":
    from model.sampling import SamplingSettings

    return SamplingSettings(steps=steps, guidance_scale=guidance_scale)


def _show(document: dict[str, Any], as_json: bool) -> None:
    _tell(json.dumps(document, indent=2) if as_json else _plain(document))


def _plain(document: dict[str, Any], indent: str = "") -> str:
    """A document as aligned lines for a person."""
    width = max((len(key) for key in document), default=0)
    lines = []
    for key, value in document.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{key}", _plain(value, indent + "  ")]
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
            lines.append(f"{indent}{key:<{width}}  {shown if shown is not None else 'not scored'}")
    return "\n".join(lines)
