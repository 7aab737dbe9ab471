"""The commands `irodori corpus`, a file each: corpora built, looked at, checked, compared, exported and merged.

In: addresses of sources and corpora. Out: a corpus, a page, an export, or what a command found.
"""

from jobs.command_groups import command_group

COMMANDS = (
    "build",
    "info",
    "browse",
    "verify",
    "diff",
    "tags",
    "export",
    "merge",
    "gc",
)
command = command_group(__name__, COMMANDS, help="Build, inspect and look after a corpus.")
