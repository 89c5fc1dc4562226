"""What an operator asks for at a terminal; nothing here is imported on the CNI path."""
