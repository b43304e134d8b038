"""Containers: compressed streams, zip and tar, walked by what really comes out of them."""
