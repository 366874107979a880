"""What a model is asked: the first time, and when it has to go on from another model's words."""

from __future__ import annotations

from dataclasses import dataclass

from mangaassist.routing.backends import Message

CONTINUE_INSTRUCTION = (
    "Your answer above was interrupted. Go on exactly where it stops, in the same language and style. "
    "Do not repeat anything of it, do not apologise, do not start again."
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question in its conversation; `history` alternates user and assistant, oldest first."""

    system: str
    history: tuple[Message, ...]
    question: str

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation up to the question."""
        return (*self.history, Message("user", self.question))

    def going_on_from(self, said: str, *, prefill: bool) -> tuple[Message, ...]:
        """The conversation for a model that continues an answer: as its own words, or told to go on from them.

        A prefilled text must not end in white space (the service refuses it).
        """
        spoken = (*self.messages, Message("assistant", said.rstrip()))
        return spoken if prefill else (*spoken, Message("user", CONTINUE_INSTRUCTION))
