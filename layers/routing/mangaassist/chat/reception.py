"""The door of the message function: a client's frame in, one call, a clear answer to all that is wrong with it."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from mangaassist.chat import frames, phrases
from mangaassist.chat.frames import Ask, Cancel, Feedback, Forget, Ping, Resume
from mangaassist.chat.turn import TABLE_LIMIT_S
from mangaassist.errors import ConnectionGone, InvalidRequest, StoreUnavailable, TooFast
from mangaassist.metric import Metric
from mangaassist.observability import logger, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from mangaassist.chat.conversation import Conversation
    from mangaassist.chat.delivery import Poster
    from mangaassist.chat.followup import Followup
    from mangaassist.chat.turn import Shopper
    from mangaassist.deadline import Deadline

POST_TRIES = 4
LANGUAGE_SAMPLE_CHARACTERS = 2_000
ESCAPED_JAPANESE = re.compile(r"\\u(30[4-9a-f]|3[4-9a-f]|[4-9][0-9a-f])", re.IGNORECASE)


class Reception:
    """Takes one frame of a client and sees it served."""

    def __init__(
        self,
        conversation: Conversation,
        followup: Followup,
        poster: Poster,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._conversation = conversation
        self._followup = followup
        self._poster = poster
        self._sleep = sleep

    def receive(self, body: str | None, shopper: Shopper, deadline: Deadline, context: LambdaContext) -> None:
        """Serve a frame; whatever is wrong with it is said to the shopper in an `error` frame, and costs nothing."""
        try:
            self._serve(frames.parse(body), shopper, deadline, context)
        except InvalidRequest as error:
            measure(Metric.InvalidRequests)
            logger.info("refused", extra={"code": error.code})
            self._refuse(shopper, error.code, _language(body), retryable=error.retryable, detail=error.detail)
        except StoreUnavailable:
            measure(Metric.StoreUnavailable)
            logger.warning("a table is out of reach", extra={"part": "reception"})
            self._refuse(shopper, "unavailable", _language(body), retryable=True)
        except Exception:
            # the boundary of the function: the shopper gets a reference, the operators the stack under it
            reference = str(uuid.uuid4())
            logger.exception("a message failed", extra={"reference": reference})
            measure(Metric.TurnFailed)
            self._refuse(shopper, "internal", _language(body), retryable=True, reference=reference)

    def _serve(self, request: frames.Request, shopper: Shopper, deadline: Deadline, context: LambdaContext) -> None:
        match request:
            case Ask():
                self._conversation.ask(request, shopper, deadline, context)
            case Resume():
                self._followup.resume(request.turn_id, shopper.user_id, shopper.connection_id, after=request.after)
            case Cancel():
                self._followup.cancel(request.turn_id, shopper.user_id)
            case Feedback():
                self._followup.rate(request.turn_id, shopper.user_id, request.rating)
            case Forget():
                self._followup.forget(
                    request.session_id, shopper.user_id, in_time=lambda: deadline.left_s() > TABLE_LIMIT_S
                )
                self._post(shopper, {"type": "forgotten", "session_id": request.session_id})
            case Ping():
                self._post(shopper, {"type": "pong"})

    def _refuse(
        self,
        shopper: Shopper,
        code: str,
        language: phrases.Language | None,
        *,
        retryable: bool,
        reference: str | None = None,
        detail: Mapping[str, str | int] | None = None,
    ) -> None:
        frame = {
            "type": "error",
            "code": code,
            "message": phrases.sentence(code, language, **(detail or {})),
            "retryable": retryable,
            "reference": reference or str(uuid.uuid4()),
        }
        self._post(shopper, frame)

    def _post(self, shopper: Shopper, frame: dict[str, Any]) -> None:
        for tries in range(1, POST_TRIES + 1):
            try:
                self._poster.post(shopper.connection_id, frames.encode(frame))
            except TooFast:
                self._sleep(0.1 * 2**tries)
            except ConnectionGone:
                return
            else:
                return
        logger.warning("a frame could not be delivered", extra={"frame_type": frame["type"]})
        measure(Metric.FramesUndelivered)


def _language(body: str | None) -> phrases.Language | None:
    """The language of a frame's text, if there is enough to tell; kana and kanji may be JSON escapes."""
    sample = (body or "")[:LANGUAGE_SAMPLE_CHARACTERS]
    if phrases.language_of(sample) == "ja" or ESCAPED_JAPANESE.search(sample):
        return "ja"
    return "en" if '"message"' in sample else None
