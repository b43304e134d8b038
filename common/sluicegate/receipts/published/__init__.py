"""What a publisher vouches for: the digests that came with data from elsewhere.

Data that was fetched is worth what can be checked about it. A publisher's list of digests
tells whether these are the bytes that the publisher meant (split-view attacks on data sets
that are lists of addresses are seen so); a signature over the list tells that the list was
not swapped with the bytes. Three kinds of list are read: checksum files, bundles of OpenSSF
Model Signing, and Croissant descriptions. Each is read strictly, and ``compare`` says file
by file what the list covers and what it does not.

Source: Carlini et al. 2024, "Poisoning Web-Scale Training Datasets is Practical",
arXiv:2302.10149.
"""

from sluicegate.receipts.published.bundles import read_oms
from sluicegate.receipts.published.checksums import read_checksums
from sluicegate.receipts.published.comparison import Comparison, compare
from sluicegate.receipts.published.croissant import read_croissant
from sluicegate.receipts.published.model import Published, PublishedFile
from sluicegate.receipts.published.reading import read_published
from sluicegate.receipts.published.signature import verify_detached

__all__ = [
    "Comparison",
    "Published",
    "PublishedFile",
    "compare",
    "read_checksums",
    "read_croissant",
    "read_oms",
    "read_published",
    "verify_detached",
]
