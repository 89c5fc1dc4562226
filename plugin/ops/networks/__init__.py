"""The networks that CNI configurations define, their ranges, and explain."""
