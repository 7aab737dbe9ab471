"""The commands of `irodori`, a file or a package each: parse the call, build the job, run it, show the result.

In: options. Out: lines or one JSON document on stdout; exit code 2 for a wrong call, 1 for what failed.
"""
