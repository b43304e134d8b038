"""Rows that are not files yet: data frames and results of queries, as subjects.

A receipt binds bytes. Rows in memory or in a database have none that a consumer could check
later, so they are written down first, as one Parquet file that is the same whenever the rows
are; the gates examine that file, and the consumer opens it.
"""
