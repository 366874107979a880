"""Everything that can go wrong, on one page, and what each means for the caller.

MangaAssistError
├── InvalidRequest        the shopper's frame is wrong          -> an `error` frame, nothing charged
├── ConnectionGone        the shopper left (410)                -> wait for a resume, then stop the model
├── TooFast               the gateway wants us to slow down     -> post later, with more text in one frame
├── StoreUnavailable      a table cannot be reached in time     -> no model call without accounts: catalogue answer
├── KnowledgeUnavailable  catalogue, search or kept answers  -> the turn goes on without them
├── IngestUnfinished      a catalogue file took too long       -> the same file again goes on where this stopped
├── PolicyInvalid         a routing policy document is wrong    -> keep the last good one, alarm
├── PolicyConflict        two operators wrote a policy at once  -> the second looks at what is in force, and decides
├── PriceUnknown          the price book has no such price      -> what rests on it is not computed
├── ProfileInvalid        a traffic profile is impossible       -> each wrong field with its reason; nothing computed
├── ControlPlaneError     a control plane of AWS refused        -> the workflow retries or reports, by AWS's name of it
├── WorkflowInputInvalid  the workflow was asked for nonsense   -> its execution fails with the reason; no purchase
└── BackendError          a model call failed
    ├── Unavailable       throttled, slow, silent, cut, broken  -> the next target
    └── Rejected          denied, malformed                     -> no other model can cure it: end the chain, alarm
"""

from __future__ import annotations


class MangaAssistError(Exception):
    """The root of every failure that this project names."""


class InvalidRequest(MangaAssistError):
    """The shopper's frame cannot be served; `code` is stable, `detail` fills the sentence shown."""

    def __init__(self, code: str, *, retryable: bool = False, **detail: str | int) -> None:
        super().__init__(code)
        self.code = code
        self.retryable = retryable
        self.detail = detail


class ConnectionGone(MangaAssistError):
    """The shopper's connection no longer exists."""


class TooFast(MangaAssistError):
    """The gateway refused a post because the client's buffer is full or the rate too high."""


class StoreUnavailable(MangaAssistError):
    """A table did not answer in its time limit, or answered that it cannot serve."""


class KnowledgeUnavailable(MangaAssistError):
    """Embeddings, search, products or kept answers did not come in time, or not in a usable form.

    `part` is what failed, `why` the service's name of it, or late, denied, garbled and the like.
    """

    def __init__(self, part: str, why: str) -> None:
        super().__init__(f"{part}: {why}")
        self.part = part
        self.why = why


class IngestUnfinished(MangaAssistError):
    """A file is not loaded to its end; what is loaded stays, and is not done again."""


class PolicyInvalid(MangaAssistError):
    """A policy document breaks its schema; the text names the field and the reason."""


class PolicyConflict(MangaAssistError):
    """The policy in force is not the one that a new policy was meant to replace."""


class PriceUnknown(MangaAssistError):
    """A price that something rests on is not in the book."""


class ProfileInvalid(MangaAssistError):
    """A traffic profile cannot be; `fields` has the reason for each field that is wrong."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in fields.items()))
        self.fields = fields


class ControlPlaneError(MangaAssistError):
    """AWS refused or did not answer; `name` is what Step Functions calls it, such as Bedrock.ConflictException."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name


class WorkflowInputInvalid(MangaAssistError):
    """The workflow's input cannot be served; the text says what is wrong with it."""


class BackendError(MangaAssistError):
    """A model call failed; `outcome` is the word that the attempt carries in `end` frames and in the ledger."""

    def __init__(self, outcome: str, detail: str = "") -> None:
        super().__init__(f"{outcome}: {detail}" if detail else outcome)
        self.outcome = outcome


class Unavailable(BackendError):
    """Another target may succeed: throttled | unavailable | silent | stalled | cut | garbled | refused | retired."""


class Rejected(BackendError):
    """No other target would help: denied | invalid."""
