"""The command `irodori corpus info`."""

from jobs.options import CorpusAt, Json
from jobs.output import as_json, as_lines, print_result


def command(uri: CorpusAt, json_: Json = False) -> None:
    """Snapshot, digest, rows, rejects, operators and bytes of a corpus."""
    from dataprep.corpus_tools.diff import parse_at
    from dataprep.corpus_tools.info import info

    document = info(*parse_at(uri))
    print_result(as_json(document) if json_ else as_lines(document))
