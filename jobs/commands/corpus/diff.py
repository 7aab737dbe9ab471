"""The command `irodori corpus diff`."""

from jobs.options import CorpusAt, Json
from jobs.output import as_json, print_result


def command(a: CorpusAt, b: CorpusAt, json_: Json = False) -> None:
    """Which rows, facts, columns and rejects two snapshots do not share; "equal" where their digests agree."""
    from dataprep.corpus_tools.diff import diff, parse_at

    difference = diff(*parse_at(a), *parse_at(b))
    document = difference.document()
    equal = f"{a} and {b} are equal: digest {difference.before['digest']}"
    print_result(as_json(document) if json_ else equal if document["equal"] else difference.summary())
