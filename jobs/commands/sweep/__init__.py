"""The commands `irodori sweep`, a file each: many evaluations by one recipe, and their leaderboard.

In: a YAML file, or the output of a sweep. Out: evaluations, and tables of what can be compared. A recipe may be named
without the word `run`.
"""

from jobs.command_groups import command_group

KEPT = "scored cells and finished parts are kept"  # by a call that is stopped
COMMANDS = (
    "run",
    "show",
)
command = command_group(
    __name__,
    COMMANDS,
    help="Many evaluations by one recipe (`irodori sweep RECIPE --out OUT`), and their leaderboard.",
    default="run",
)
