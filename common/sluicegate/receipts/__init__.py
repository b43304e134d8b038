"""Receipts: what is signed (``statement``), how (``bundle``), and with which ``keys``."""
