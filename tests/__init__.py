"""The tests, and what demo and bench share with them."""
