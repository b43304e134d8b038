"""Suite files: bytes to values, strictly, and without Great Expectations."""
