"""The one-scan engine: a suite as one pass over the data, in bounded memory."""
