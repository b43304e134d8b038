"""Servers that the pipeline names: how they speak TLS, and what else they would accept.

A server is spoken to, not believed. A good handshake says little: the same server may also
take TLS 1.0, ciphers without encryption, or plain text on the same port, and a client may be
configured to go on without TLS. So each of these is a question of its own, and each is
answered by trying it, or by reading the URL's own options.

* ``endpoint`` reads the URLs, ``parameters`` judges their options;
* ``wire`` moves bytes in bounded time, ``tls`` shakes hands, ``hello`` offers what no TLS
  library offers any more, ``starttls`` and ``mysql`` speak what comes before TLS, ``plain``
  tries without, ``drivers`` asks a database about its session;
* ``certificates`` judges chains, ``server`` learns each thing once, ``answers`` answers
  ``questions``.

What it cannot see: other ports and other machines behind the same name, what happens behind
a proxy that ends TLS (except for databases that are asked), revocation, and a server that
treats this machine otherwise than the pipeline's. Each server gets about ten connections
that are not carried through, which its log shows; MySQL counts them towards
``max_connect_errors`` until somebody logs in from the same machine.
"""

from __future__ import annotations

from collections.abc import Mapping

from sluicegate.stages.encryption.scope import Area
from sluicegate.stages.encryption.settings import Settings
from sluicegate.stages.encryption.transit.answers import endpoints, examine
from sluicegate.stages.encryption.transit.questions import QUESTIONS
from sluicegate.storage.uri import SubjectUri

__all__ = ["AREA", "QUESTIONS"]


def _resources(settings: Settings, uri: SubjectUri) -> Mapping[str, tuple[str, ...]]:
    """Return the servers that are named. AWS permissions are not needed for any of them."""
    del uri
    named = tuple(dict.fromkeys(one.target for one in endpoints(settings.endpoints)))
    return {"endpoint": named} if named else {}


AREA = Area(name="transit", questions=QUESTIONS, resources=_resources, examine=examine)
"""The room of servers."""
