"""Sweeps: cells, what is reused and what fails, and the leaderboard."""
