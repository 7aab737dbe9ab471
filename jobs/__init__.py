"""The doors: the command line (`irodori`) and what a person sees while it works.

In: a command line. Out: progress on stderr, results on stdout, an exit code.
"""
