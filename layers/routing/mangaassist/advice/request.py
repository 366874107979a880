"""What the advisor is asked: a profile, or a day of the ledger with what it cannot tell, and prices of one's own."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from mangaassist.advice import profile as profiles
from mangaassist.document import Part
from mangaassist.errors import PriceUnknown, ProfileInvalid
from mangaassist.money.book import price_book

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mangaassist.advice.profile import Profile
    from mangaassist.money.book import PriceBook
    from mangaassist.money.books import Books


class Request(Part):
    """A question to the advisor; `books_of` takes the traffic from a day's ledger, and `profile` has the rest."""

    profile: dict[str, Any] = Field(default_factory=dict)
    books_of: date | Literal["yesterday"] | None = None
    policy: Literal["in-force", "current", "claude-3"] = "in-force"
    as_of: date | None = None  # prices and models of another day than today
    prices: dict[str, Annotated[Decimal, Field(gt=0)]] = Field(default_factory=dict)  # by name in the price book

    def day_of_books(self, today: date) -> date | None:
        """The JST day whose ledger is to be read."""
        return today - timedelta(days=1) if self.books_of == "yesterday" else self.books_of


def read(document: Mapping[str, Any]) -> Request:
    """Validate a request; raises ProfileInvalid with a reason for each wrong field."""
    try:
        return Request.model_validate(document)
    except ValidationError as error:
        raise ProfileInvalid(profiles.reasons(error)) from error


def profile_of(request: Request, books: Books | None) -> Profile:
    """The profile that a request means; raises ProfileInvalid."""
    known = observed(books) if books else {}
    return profiles.read({**known, **request.profile})


def book_of(request: Request, region: str) -> PriceBook:
    """The price book with the prices that the request brings; raises ProfileInvalid for one that is not known."""
    try:
        return price_book().but(request.prices, region)
    except PriceUnknown as error:
        raise ProfileInvalid({"prices": str(error)}) from error


def observed(books: Books) -> dict[str, Any]:
    """What a day's books tell of its traffic; raises ProfileInvalid where there was none."""
    turns = books.turns.total()
    if not turns:
        raise ProfileInvalid({"books_of": f"the ledger has no turn on {books.day}"})
    asked = sum(books.kinds.values())
    told = {
        "messages_per_day": turns,
        "curve": tuple(books.asked[hour] / turns for hour in range(24)),
        "kept_share": min(books.kept.total() / turns, 0.999),
    }
    if asked:
        told |= {f"{kind}_share": books.kinds[kind] / asked for kind in ("complex", "catalogue")}
    if answered := books.by["outcome"].get("answered"):
        prompts = answered.input_tokens + answered.cache_read_tokens + answered.cache_write_tokens
        told["input_tokens"] = max(1, round(prompts / answered.calls))
        told["output_tokens"] = max(1, round(answered.output_tokens / answered.calls))
    return told
