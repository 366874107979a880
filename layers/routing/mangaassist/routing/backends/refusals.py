"""What the services' names of their failures mean for the chain; one table for every backend.

Failures carry the service's code and status and never its sentence: that may repeat what the shopper wrote.
"""

from __future__ import annotations

import json
import re

from mangaassist.errors import BackendError, Rejected, Unavailable

_THROTTLED = "throttling throttled toomanyrequests requestlimitexceeded modelnotready servicequotaexceeded"
_UNAVAILABLE = (
    "serviceunavailable internalserver internalservererror internalfailure internaldependency internalstreamfailure "
    "modeltimeout modelerror modelstreamerror"
)
_DENIED = (
    "accessdenied unrecognizedclient expiredtoken invalidsignature signaturedoesnotmatch missingauthenticationtoken "
    "incompletesignature invalidclienttokenid notauthorized optinrequired requestexpired requesttimetooskewed"
)

type Verdict = tuple[type[Unavailable | Rejected], str]
_BY_CODE: dict[str, Verdict] = {
    **dict.fromkeys(_THROTTLED.split(), (Unavailable, "throttled")),
    **dict.fromkeys(_UNAVAILABLE.split(), (Unavailable, "unavailable")),
    **dict.fromkeys(_DENIED.split(), (Rejected, "denied")),
    "resourcenotfound": (Unavailable, "retired"),  # no such model any more
    "validation": (Rejected, "invalid"),
    "validationerror": (Rejected, "invalid"),
}
_BY_STATUS: dict[int, Verdict] = {
    401: (Rejected, "denied"),
    403: (Rejected, "denied"),
    408: (Unavailable, "unavailable"),
    424: (Unavailable, "unavailable"),
    429: (Unavailable, "throttled"),
}
_BY_LEAST_STATUS: tuple[tuple[int, Verdict], ...] = (
    (500, (Unavailable, "unavailable")),
    (400, (Rejected, "invalid")),
    (0, (Unavailable, "garbled")),  # no service of AWS answers so
)
_SOUND_CODE = re.compile(r"[A-Za-z]{1,80}")  # anything else stays out of logs


def failure(code: str, status: int = 500) -> BackendError:
    """Our error for one of the service's, whether it refused the call or broke off the stream."""
    verdict = _BY_CODE.get(code.lower().removesuffix("exception")) or _BY_STATUS.get(status)
    if verdict is None:
        verdict = next(verdict for least, verdict in _BY_LEAST_STATUS if status >= least)
    kind, outcome = verdict
    return kind(outcome, f"{code if _SOUND_CODE.fullmatch(code) else 'no code'}, status {status}")


def bare_code(error_type: str) -> str:
    """The bare code in an error's type, such as `namespace#ThrottlingException:http://...`."""
    return error_type.split(":")[0].rsplit("#")[-1]


def code_within(refusal: bytes) -> str:
    """The code that an error's body names, if it does."""
    try:
        body = json.loads(refusal)
    except (ValueError, RecursionError):
        return ""
    match body:
        case {"__type": str(error_type)} | {"code": str(error_type)}:
            return bare_code(error_type)
    return ""
