"""What a configuration says: its keys, how each is checked, and which files and directories root may use."""
