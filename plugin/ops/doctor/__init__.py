"""doctor: the command, its table of checks, and the checks by subject."""
