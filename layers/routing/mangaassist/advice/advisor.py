"""The advisor: takes a request as a document, and answers with the advice as one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mangaassist.advice import request as requests
from mangaassist.advice.advice import advise
from mangaassist.advice.terms import Terms
from mangaassist.errors import ProfileInvalid
from mangaassist.jst import jst
from mangaassist.routing import policy as policies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from mangaassist.advice.advice import Advice
    from mangaassist.money.books import Books
    from mangaassist.routing.policy import Policy


IN_FORCE = "in-force"  # the policy that the deployment goes by


class Sight(Protocol):
    """What is in force."""

    @property
    def policy(self) -> Policy: ...


class Situations(Protocol):
    """Where it is read."""

    def view(self) -> Sight: ...


class Reader(Protocol):
    """Where a day's books are read."""

    def books(self, day: date) -> Books: ...


@dataclass(frozen=True, slots=True)
class Advisor:
    """Reads what a request names, and advises; the prices are those of today in Japan."""

    situation: Situations
    reader: Reader
    now_s: Callable[[], float] = time.time

    def advise(self, document: Mapping[str, Any]) -> Advice:
        """The advice; raises ProfileInvalid with a reason for each wrong field, before anything is computed."""
        request, today = requests.read(document), jst(self.now_s()).date()
        day = request.day_of_books(today)
        if day is not None and day >= today:
            raise ProfileInvalid({"books_of": f"{day} is not over yet"})
        profile = requests.profile_of(request, self.reader.books(day) if day else None)
        policy = self.situation.view().policy if request.policy == IN_FORCE else policies.preset(request.policy)
        return advise(profile, Terms(policy, requests.book_of(request, profile.region), request.as_of or today))

    def answer(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The advice as a document, or `errors` with a reason for each wrong field and nothing computed."""
        try:
            return self.advise(document).document()
        except ProfileInvalid as error:
            return {"errors": error.fields}
