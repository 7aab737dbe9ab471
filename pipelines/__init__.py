"""The packages below composed on Ray: build a corpus, train a stage, colorize in bulk, evaluate; lineage and recipes.

In: resolved recipes and URIs. Out: a corpus, checkpoints, pictures and scores, each traced in MLflow.
"""

import os

# Threads of torch wait asleep and do not spin: libgomp reads this when torch is imported, and processes that start from
# here inherit it. Spinning threads keep each other from the cores beside other work (docs/measurements.md).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Ray ends a driver from C++ when a head does not answer for a minute, also one that this driver has replaced since. Who
# looks after heads is pipelines.execution.engine_watch. Read when Ray is imported.
os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(10**6))
