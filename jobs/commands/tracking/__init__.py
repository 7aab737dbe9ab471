"""The commands `irodori tracking`, a file each: what MLflow holds of the work, beside what the outputs hold themselves.

In: addresses of outputs. Out: their records in MLflow.
"""

from jobs.command_groups import command_group

COMMANDS = ("sync",)
command = command_group(__name__, COMMANDS, help="Bring records into MLflow that it did not take in time.")
