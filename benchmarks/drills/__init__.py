"""Every disturbance that the suite tries, run again and counted: kind, tries, lost, doubled."""
