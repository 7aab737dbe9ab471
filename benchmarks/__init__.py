"""How fast and how good the parts are, each beside a peer: a folder each, run as `python -m benchmarks.<name>`."""
