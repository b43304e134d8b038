"""Policies of buckets and keys, evaluated: is there a request that gets through?

A policy is not searched for a statement that looks right. Whether "plain HTTP is refused"
holds is a question about all requests: every principal, action, resource and context. This
package looks for one that succeeds; if there is one, it is the evidence.

* ``document`` reads a policy in its full grammar; ``glob`` partitions all texts by which of
  several patterns they match, with an example of each part; ``operators`` are the condition
  operators; ``context`` is what is known of condition keys; ``principals`` are the callers
  that a policy can tell apart; ``search`` finds a request that an Allow matches and no Deny;
  ``questions`` are the questions that the checks ask.

Sources: AWS IAM User Guide, "IAM JSON policy elements reference" and "Policy evaluation
logic"; Amazon S3 User Guide, "Actions, resources, and condition keys for Amazon S3".

What is not seen: identity policies, service control policies, access point policies and
session policies. A principal of the bucket's own account is taken to be allowed whatever the
bucket policy does not deny.
"""

from __future__ import annotations

from sluicegate.stages.encryption.iam.document import PolicyDocument, parse_policy
from sluicegate.stages.encryption.iam.questions import (
    MODES,
    Answer,
    BucketAnswers,
    Exposure,
    bucket_exposure,
    outside_access,
)

__all__ = [
    "MODES",
    "Answer",
    "BucketAnswers",
    "Exposure",
    "PolicyDocument",
    "bucket_exposure",
    "outside_access",
    "parse_policy",
]
