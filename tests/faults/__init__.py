"""What stands around an ADD goes wrong: no address twice, no lease lost, the next ADD and DEL work."""
