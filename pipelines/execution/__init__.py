"""How work reaches Ray: sessions, Ray Data, task tables, the cluster file.

In: functions and what they work on. Out: results in order; a worker's failure as its own error.
"""
