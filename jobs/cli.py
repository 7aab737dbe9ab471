"""The command line `irodori`: parse, build, run. What a command does lives in `pipelines`.

Exit codes: 0 done; 2 the call was wrong; 1 anything missing, refused or failed beyond the call. Heavy imports happen
inside the commands, so that help and wrong calls answer at once.
"""

import json
import sys
import tempfile
import traceback
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataprep.errors import DataError
from eval.errors import EvalError
from jobs.commands.colorize import colorize
from jobs.commands.corpus import app as corpus_app
from jobs.commands.plan import plan
from jobs.commands.weights import app as weights_app
from jobs.console import silence
from jobs.options import Address, DryRun, Json, NamingGroup, Set, Tracking, Workers, engines, log_folder, plain, tell
from model.diffusion.sampling_settings import MOST_STEPS
from model.errors import ModelError
from pipelines.common.errors import PipelineError
from pipelines.common.overrides import SettingsError, nearest, parse_assignments

if TYPE_CHECKING:
    from pipelines.recipes.stage_recipe import StageRecipe

REFUSED = (DataError, ModelError, EvalError, PipelineError)


app = typer.Typer(
    cls=NamingGroup,
    help="Reference-based sketch colorization at scale: build a corpus, train, colorize, evaluate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(corpus_app, name="corpus")
app.add_typer(weights_app, name="weights")
app.command("plan")(plan)
app.command("colorize")(colorize)


@app.command()
def train(
    stage: Annotated[str, typer.Argument(help="The stage, such as v1.noisy or v1.refine.")],
    corpus: Annotated[str | None, typer.Option(help="The corpus to train on.")] = None,
    out: Annotated[
        str | None, typer.Option(help="Where checkpoints, samples and history go. The same again resumes.")
    ] = None,
    model_size: Annotated[str, typer.Option(help="tiny (two CPU cores) or base (published size).")] = "tiny",
    from_: Annotated[str | None, typer.Option("--from", help="The checkpoint to continue or start from.")] = None,
    workers: Workers = 1,
    loader: Annotated[
        str, typer.Option(help="Make samples in threads beside the trainer, or as ray tasks.")
    ] = "threads",
    address: Address = None,
    tracking_uri: Tracking = None,
    dry_run: DryRun = False,
    set_: Set = [],  # noqa: B006 (typer reads the default, nothing changes it)
) -> None:
    """Train one stage; run the same command again to resume. --dry-run without a corpus shows the recipe."""
    from pipelines.common.addresses import check_buckets
    from pipelines.training.batch_shares import checked_loader

    recipe = _stage_recipe(stage, model_size, from_, workers, set_, need_parent=corpus is not None)
    loading = checked_loader(loader)
    if corpus is None and dry_run:
        tell(json.dumps(recipe.flat(), indent=2))
        return
    if corpus is None or out is None:
        raise SettingsError(f"--{'out' if corpus else 'corpus'} is missing")
    check_buckets(corpus, out, from_)
    from pipelines.training.stage import plan_stage, train_stage

    plan = plan_stage(recipe, corpus, out, from_, workers, loading)
    if dry_run:
        tell(json.dumps(plan.document() | {"rows": plan.rows, "dealt_out": vars(plan.shares)}, indent=2))
        return
    with engines(log_folder(out), "train") as (console, log_file):
        report = train_stage(
            plan, log_file=log_file, progress=console.progress, tracking_uri=tracking_uri, address=address
        )
        how = "was complete already" if report.already_complete else "done"
        if report.resumed_from:
            how += f" (resumed from {report.resumed_from:,} images)" if not report.already_complete else ""
        if report.replaced:
            how += f", {report.replaced:,} samples whose row could not be used were replaced (see history.jsonl)"
        console.result(f"{stage}: {how}, {report.images_seen:,} images, loss {report.loss:.4f}: {report.checkpoint}")


@app.command()
def evaluate(
    checkpoint: Annotated[str, typer.Option(help="The model to score.")],
    corpus: Annotated[str, typer.Option(help="The corpus whose validation rows are used.")],
    protocol: Annotated[str, typer.Option(help="random-reference, deformed-reference, self or known-answer.")],
    out: Annotated[str, typer.Option(help="Where scores, pairs and pictures go.")],
    limit: Annotated[int | None, typer.Option(min=1, help="At most N pairs.")] = None,
    steps: Annotated[int, typer.Option(min=1, max=MOST_STEPS, help="Sampling steps.")] = 20,
    guidance_scale: Annotated[float, typer.Option(help="How strongly to follow the reference.")] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Decides pairs and noise.")] = 0,
    ema: Annotated[bool, typer.Option("--ema", help="With the moving average of the checkpoint's weights.")] = False,
    address: Address = None,
    tracking_uri: Tracking = None,
    json_: Json = False,
    set_: Set = [],  # noqa: B006 (typer reads the default, nothing changes it)
) -> None:
    """Score a checkpoint by a protocol; --set takes the other settings of sampling, such as sampler=ddim."""
    from pipelines.colorization.picture_settings import sampling_settings
    from pipelines.common.addresses import check_buckets
    from pipelines.evaluation.lookup import find_protocol

    find_protocol(protocol)
    sampling = sampling_settings({"steps": steps, "guidance_scale": guidance_scale} | parse_assignments(set_))
    check_buckets(checkpoint, corpus, out)
    from pipelines.evaluation.evaluate import evaluate as run
    from pipelines.evaluation.plan import plan_evaluation

    plan = plan_evaluation(
        checkpoint,
        corpus,
        protocol,
        out,
        sampling=sampling,
        limit=limit,
        seed=seed,
        ema=ema,
    )
    with engines(log_folder(out), "evaluate") as (console, log_file):
        document = run(plan, log_file=log_file, progress=console.progress, tracking_uri=tracking_uri, address=address)
        console.result(json.dumps(document, indent=2) if json_ else plain(document))


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
        tell(json.dumps(chain.document(), indent=2))
        return
    names = {node.id: f"{node.kind:<11} {node.name}  {node.id}" for node in chain.nodes}
    for node in reversed(chain.nodes):
        made_from = [names[start].split("  ")[0] for start, end in chain.edges if end == node.id]
        tell(names[node.id] + (f"\n            made from: {'; '.join(made_from)}" if made_from else ""))


@app.command()
def doctor() -> None:
    """What this machine can run, what is missing, and the command that mends it."""
    from pipelines.doctor import examine

    findings = examine()
    for finding in findings:
        mark = {"ok": "ok      ", "missing": "MISSING ", "note": "note    "}[finding.state]
        tell(f"{mark} {finding.what}" + (f"\n         mend: {finding.mend}" if finding.mend else ""))
    if any(finding.state == "missing" for finding in findings):
        raise PipelineError("something that irodori needs is missing; the lines above say how to mend it")


@app.command()
def demo(
    out: Annotated[str, typer.Option(help="Where everything goes; a local directory.")] = "demo",
) -> None:
    """The whole main job on the shipped pictures: corpus, training, evaluation, report."""
    from pipelines.demo.demo import run_demo

    with engines(log_folder(out), "demo") as (console, log_file):
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
    if message.startswith("Got unexpected extra argument"):  # a shell's drawings/*.png, most often
        message = f"{message.splitlines()[0]}: give an option again for each of its files, or name their folder"
    words = takewhile(lambda word: not word.startswith("-"), arguments)
    usage = context.command_path if context else " ".join(["irodori", *words])
    return _fail(2, f"{message.splitlines()[0]} (see: {usage} --help)")


def _stage_recipe(
    stage: str, model_size: str, parent: str | None, workers: int, changes: list[str], need_parent: bool
) -> "StageRecipe":
    """The resolved recipe of a call that can work; everything that is wrong with the call alone is told here."""
    from pipelines.recipes.stage_recipe import check_parent_given, configured
    from pipelines.recipes.stages import stage_recipe
    from pipelines.training.batch_shares import BatchShares

    recipe = configured(stage_recipe(stage, model_size), parse_assignments(changes))
    if need_parent:
        check_parent_given(recipe, parent)
    BatchShares.of(recipe.length, workers)
    return recipe
