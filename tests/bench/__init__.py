"""python3 build.py bench: what a request costs, beside what cannot be saved."""
