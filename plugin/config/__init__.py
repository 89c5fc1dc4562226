"""The keys of a configuration, how each is checked, and which files and directories root may use."""
