"""The built archive itself."""
