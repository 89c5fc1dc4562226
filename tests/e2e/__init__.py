"""End-to-end tests: the built plugins against real parts."""
