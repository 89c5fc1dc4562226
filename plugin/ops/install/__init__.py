"""install and uninstall: the archive, the directory of plugins, the interpreter in its first line."""
