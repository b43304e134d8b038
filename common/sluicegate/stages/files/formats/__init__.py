"""Formats that are no containers: each module walks the structure of a family of types."""
