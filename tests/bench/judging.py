"""What it costs to judge a request of 4 KB: schema, then findings with all that is known around it.

python -m tests.bench.judging
"""

import json
import time

from gateway.core.findings import Circumstances, findings, identities
from gateway.core.ids import AuthorityId, CaseId
from gateway.core.message import Message, check_schema, parse_common
from tests.support.authorities import make_authority
from tests.support.cases import played
from tests.support.profiles import make_profile

SIZE_BYTES = 4096
TARGET_MS = 0.5
_RUNS, _CALLS = 7, 500
_PEER = AuthorityId("qn.moj")


def request() -> Message:
    """Return a sample request with persons, coercive measures and a deadline, of SIZE_BYTES or more."""
    payload = json.loads(played(11)[0][1].message.raw)
    payload["body"]["deadline"] = {"date": "2026-12-01", "reason": "The hearing."}
    missing = SIZE_BYTES - len(json.dumps(payload, ensure_ascii=False).encode())
    payload["body"]["facts"]["text"] += " More." * max(0, -(-missing // 6))
    return parse_common(json.dumps(payload, ensure_ascii=False).encode())


def judged_ms() -> float:
    """Return the milliseconds of processor time that judging one request takes."""
    message, profile = request(), make_profile(make_authority(_PEER))
    known = dict.fromkeys(identities(message), CaseId("7d1f0f0e-2c52-4a57-9a43-0b7f3c2f9f11"))
    circumstances = Circumstances(profile=profile, elsewhere=known)
    found = findings(message, circumstances)
    assert found, "the deadline is short, and the persons are known: something is to be found"

    def judge() -> None:
        check_schema(message)
        findings(message, circumstances)

    return min(_timed_ms(judge) for _ in range(_RUNS))


def _timed_ms(judge) -> float:
    begun = time.process_time()
    for _ in range(_CALLS):
        judge()
    return 1000 * (time.process_time() - begun) / _CALLS


def line(taken_ms: float) -> str:
    return f"  schema and findings of a 4 KB request: {taken_ms:.3f} ms (target: under {TARGET_MS})"


if __name__ == "__main__":
    print(line(judged_ms()))
