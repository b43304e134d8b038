"""Amazon S3 and stores that speak its protocol: objects, buckets, accounts.

``objects`` is the room of what is said about single objects: ``heads`` asks for them one by
one, ``parallel`` many at once, ``inventory`` reads a report about them instead, ``sampling``
draws some; ``judge`` turns the answers into checks; ``history`` looks at what lies behind
them: old versions and unfinished uploads; ``anonymous`` asks without credentials.
"""
