"""Reports of trainings, evaluations and sweeps."""
