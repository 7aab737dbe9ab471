"""One page for any work that was done: trainings, evaluations and sweeps, alone or together.

In: addresses of their outputs. Out: `report.html`, which needs no network, and its tables as Markdown, LaTeX and CSV
(`report`). `pieces` makes the parts of a page that other pages show too, `comparison` what several have in common.
"""
