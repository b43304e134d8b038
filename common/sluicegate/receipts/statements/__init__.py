"""The kinds of statements, one a module; ``frame`` is what they share."""
