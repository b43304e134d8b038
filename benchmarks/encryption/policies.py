"""How often bucket policies are judged rightly: evaluated, and searched as others do.

Random policies, about half of them sound, are labelled by the brute-force oracle of the
tests, which shares no code with the evaluator. An *open* policy has a request that succeeds
and AWS could see today; a *sound* one has none in any doubtful reading; the rest is left out.
Passing an open one is a hole in the gate, failing a sound one a false alarm.

The naive way, beside it, passes a bucket if some Deny statement tests the right key: for
plain HTTP ``aws:SecureTransport`` is ``false``, for old TLS ``s3:TlsVersion``, for puts
``s3:x-amz-server-side-encryption``.

Time is that of all three questions about one policy, the parsing included.

    python benchmarks/encryption/policies.py
    python benchmarks/encryption/policies.py --policies 2000 --seed 7
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sluicegate.stages.encryption.iam import Exposure, bucket_exposure, parse_policy
from tests.core.policy_grid import SSE, Ask, Label, label, read_request, replays
from tests.core.policy_idioms import BUCKET, HTTP, OWNER, TLS
from tests.core.policy_oracle import conditions, listed, text
from tests.core.policy_zoo import random_policy

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEYS = {Ask.PLAIN_HTTP: HTTP, Ask.BELOW_TLS12: TLS, Ask.UNENCRYPTED_PUT: SSE}


def naive(policy: Any, ask: Ask) -> bool:
    """Return whether some Deny statement looks right."""
    for statement in listed(policy["Statement"]):
        for _, key, values in conditions(statement):
            right = ask is not Ask.PLAIN_HTTP or "false" in map(text, listed(values))
            if statement["Effect"] == "Deny" and key.lower() == KEYS[ask].lower() and right:
                return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policies", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    tally: Counter[tuple[Ask, str]] = Counter()
    seconds = []
    for _ in range(chosen.policies):
        policy, owner = random_policy(rng), rng.choice([OWNER, None])
        start = time.process_time()
        answers = bucket_exposure(parse_policy(policy), bucket=BUCKET, owner=owner, now=NOW)
        seconds.append(time.process_time() - start)
        for ask in Ask:
            right = label(policy, ask, bucket=BUCKET, owner=owner, now=NOW)
            answer = getattr(answers, ask)
            tally[ask, f"{right}"] += 1
            tally[ask, f"{right} {answer.exposure}"] += 1
            tally[ask, f"{right} naive {naive(policy, ask)}"] += 1
            if answer.exposure is Exposure.OPEN:
                request = read_request(answer.counterexample)
                wrong = replays(policy, ask, request, bucket=BUCKET, owner=owner, now=NOW)
                tally[ask, "replayed"] += not wrong
                tally[ask, "not replayed"] += bool(wrong)
    report(tally)
    cuts = statistics.quantiles(seconds, n=20)
    print(f"\nCPU a policy: median {cuts[9] * 1e3:.0f} ms, 95 % {cuts[18] * 1e3:.0f} ms", end="")
    print(f", most {max(seconds) * 1e3:.0f} ms")


def report(tally: Counter[tuple[Ask, str]]) -> None:
    hole, sound = Label.HOLE, Label.SOUND
    rows = (
        ("open", f"{hole}"),
        ("  passed", f"{hole} {Exposure.REFUSED}"),
        ("  unknown", f"{hole} {Exposure.UNKNOWN}"),
        ("  passed by the naive way", f"{hole} naive True"),
        ("sound", f"{sound}"),
        ("  failed", f"{sound} {Exposure.OPEN}"),
        ("  unknown", f"{sound} {Exposure.UNKNOWN}"),
        ("  failed by the naive way", f"{sound} naive False"),
        ("debatable", f"{Label.DEBATABLE}"),
        ("  passed", f"{Label.DEBATABLE} {Exposure.REFUSED}"),
        ("counterexamples replayed", "replayed"),
        ("  that did not succeed", "not replayed"),
    )
    print(f"{'':28}" + "".join(f"{ask:>18}" for ask in Ask))
    for name, key in rows:
        print(f"{name:28}" + "".join(f"{tally[ask, key]:>18}" for ask in Ask))


if __name__ == "__main__":
    main()
