"""State dicts as published files have them, with made-up weights."""

from benchmarks.evaluation.made_up_inception import published_inception as published_inception
