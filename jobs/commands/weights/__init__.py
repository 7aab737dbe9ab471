"""The commands `irodori weights`, a file each: list, add and get fill the weight store; inspect, convert and export
deal with whole models that were trained elsewhere, or shall go there.

In: addresses of weight files, checkpoints and packages. Out: stored weights, checkpoints, released files.
"""

from jobs.command_groups import command_group

COMMANDS = (
    "list",
    "add",
    "get",
    "inspect",
    "convert",
    "export",
)
command = command_group(
    __name__, COMMANDS, help="Weights that were trained elsewhere: of networks around the models, and of whole models."
)
