"""Subjects: where they lie, what bytes they hold, how those bytes are read safely.

``uri`` names a subject, ``base`` says what a storage does, ``local``, ``s3`` and
``fsspec_store`` do it, ``manifest`` and ``snapshot`` bind the bytes, ``formats`` and
``tables`` read rows and split them.
"""
