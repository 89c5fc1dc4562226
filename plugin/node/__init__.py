"""This machine's Node: which one it is, what is stored of it, and how fresh that must be."""
