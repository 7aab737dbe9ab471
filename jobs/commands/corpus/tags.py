"""The command `irodori corpus tags`: the tag vocabulary of a corpus."""

import json
from typing import Annotated

import typer

from dataprep.corpus_tools.tags import Thresholds, VocabularySettings
from jobs.addresses import place
from jobs.options import CorpusAt, Json
from jobs.output import print_result
from pipelines.common.overrides import SettingsError


def command(
    uri: CorpusAt,
    out: Annotated[
        str | None,
        typer.Option(parser=place, help="The JSON file to write, with every tag; without it, only a summary."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Take the N most frequent tags of the training split.")] = 6000,
    origin: Annotated[
        str, typer.Option("--from", help="Which tags: of the source, or predicted (by a tagger).")
    ] = "source",
    kinds: Annotated[
        str, typer.Option(help="By commas: general, character; of a source also copyright, artist, meta.")
    ] = "general",
    general: Annotated[
        float, typer.Option("--general-threshold", help="From which probability on a predicted general tag counts.")
    ] = 0.35,
    character: Annotated[
        float, typer.Option("--character-threshold", help="The same for predicted characters.")
    ] = 0.75,
    weighting: Annotated[
        str, typer.Option("--alpha", help="Class weights for the long tail: inverse (thesis 4.2.1), or balanced.")
    ] = "inverse",
    json_: Json = False,
) -> None:
    """The most frequent tags with their counts by split, and class weights for the long tail."""
    names = tuple(kind for kind in kinds.replace(" ", "").split(",") if kind)
    try:
        settings = VocabularySettings(top, origin, names, Thresholds(general, character), weighting)  # type: ignore[arg-type]
    except ValueError as error:
        raise SettingsError(str(error)) from error
    from dataprep.corpus.snapshot import open_snapshot
    from dataprep.corpus_tools.diff import parse_at
    from dataprep.corpus_tools.vocabulary import vocabulary
    from dataprep.storage import store as storage
    from pipelines.common.addresses import check_buckets

    corpus, number = parse_at(uri)
    check_buckets(corpus, out)
    found = vocabulary(open_snapshot(corpus, number), settings)
    document = json.dumps(found.document(), indent=1, ensure_ascii=False)
    if out:
        storage.write_whole(out, document.encode())
    print_result(document if json_ else found.summary() + (f"\n  written to {out}" if out else ""))
