"""Renderings of reports for people. The stored JSON is the report; these are views of it."""
