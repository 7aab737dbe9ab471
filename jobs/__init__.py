"""The doors: the command line (`irodori`) and what a person sees while it works."""
