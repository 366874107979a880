"""What operators are told: what was being bought, what is billed now, what to do, and each trouble once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mangaassist.capacity.notices import Billed, Notice, is_news, is_trouble, notice, summary
from mangaassist.capacity.workflow import Closing, Ended, Failure, Opening, Request
from tests.unit.purchases import NAME, OWNER, at, closing, opening

BILLED = Billed(NAME, "InService", 2, 46_000_000_000)
GONE = closing(outcome="gone")


def failed(error: str, cause: str = "") -> Failure:
    return Failure.model_validate({"Error": error, "Cause": cause})


def ended(action: str = "keep", window: str | None = "peak", **parts: Any) -> Ended:
    return Ended(request=Request.model_validate({"action": action, "window": window}), **parts)


def told(what: Ended, billed: tuple[Billed, ...] | None = (BILLED,)) -> Notice:
    written = notice(what, OWNER, billed)
    assert written is not None
    return written


def discarded(outcome: str, reason: str) -> Ended:
    """A purchase that came to nothing, deleted."""
    gone = closing(outcome="gone", why=reason, leaves=outcome)
    return ended(opening=opening(outcome=outcome, reasons=(reason,)), closing=(gone,))


ENDINGS: dict[str, tuple[Ended, tuple[str, ...]]] = {
    "failed": (
        discarded("failed", "Model is not available"),
        (
            "2 x amazon.nova-pro-v1:0:300k for peak of 2026-11-25 is failed: Model is not available",
            'To try again: make capacity ARGS="--stack STACK open peak --live".',
        ),
    ),
    "given up": (
        discarded("given_up", "it was not in service in time"),
        ("is given up: it was not in service in time", 'make capacity ARGS="--stack STACK open peak --live"'),
    ),
    "quota": (
        ended(
            opening=opening(outcome="buy"),
            failure=failed("Bedrock.ServiceQuotaExceededException", "no model units reserved"),
        ),
        (
            "keep failed: Bedrock.ServiceQuotaExceededException no model units reserved",
            "Ask AWS Support for no-commitment model units",
        ),
    ),
    "access denied": (
        ended(opening=opening(outcome="buy"), failure=failed("Bedrock.AccessDeniedException", "not authorized")),
        ("Bedrock.AccessDeniedException not authorized", "Compare the capacity function's role with template.yaml"),
    ),
    "wrong model": (
        ended(opening=opening(outcome="buy"), failure=failed("Bedrock.ValidationException", "bad id")),
        ("Bedrock.ValidationException bad id", "Compare the window's model with what ListFoundationModels"),
    ),
    "refused": (
        ended(opening=opening(outcome="refused", reasons=("it is legacy", "it is too dear"))),
        ("does not buy 2 x amazon.nova-pro-v1:0:300k", "it is legacy; it is too dear", "Mend what is named above"),
    ),
    "retained": (
        ended(closing=(closing(outcome="retained", committed_until_s=at("12:00", "2026-12-24")),)),
        (
            f"{NAME} is committed until 2026-12-24 and stays, withdrawn, for $46.00 an hour",
            "A committed purchase renews itself at its end: ask AWS Support to end it",
        ),
    ),
    "retained, nobody knows how long": (
        ended(closing=(closing(outcome="retained"),)),
        (f"{NAME} is committed until an unknown day and stays",),
    ),
    "not closed": (
        ended(closing=(closing(outcome="draining", failure=failed("Bedrock.ConflictException", "in use")),)),
        (
            f"{NAME} (its window has ended) is draining: Bedrock.ConflictException in use",
            "It may still be billed, and every tick tries again.",
            'make capacity ARGS="--stack STACK close peak"',
            f"aws bedrock delete-provisioned-model-throughput --provisioned-model-id {NAME}",
        ),
    ),
    "swept": (
        ended("sweep", None, closing=(GONE, closing(2, name="manga-lunch", window="lunch", outcome="gone"))),
        (f"{NAME} (its window has ended) is gone; manga-lunch", "It is gone. Find out why it was alive"),
    ),
    "not planned": (
        ended(failure=failed("StoreUnavailable", "Query: ThrottlingException")),
        ("keep failed: StoreUnavailable Query: ThrottlingException", "Look at the execution", "the next tick tries"),
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_a_notice_says_what_happened_and_what_to_do(name: str) -> None:
    what, says = ENDINGS[name]
    message = told(what).message
    for text in says:
        assert text in message
    assert "To do: " in message


@pytest.mark.parametrize("name", ENDINGS)
def test_a_notice_says_what_is_billed_now_and_that_no_shopper_suffers(name: str) -> None:
    message = told(ENDINGS[name][0]).message
    assert f"Billed now: $46.00 an hour: {NAME} (2 model units, InService)" in message
    assert "Shoppers are answered on demand meanwhile" in message


@pytest.mark.parametrize("name", [name for name in ENDINGS if name != "not planned"])
def test_a_notice_names_what_was_being_bought(name: str) -> None:
    assert (
        "What: 2 model units of amazon.nova-pro-v1:0:300k for the window peak of 2026-11-25, named "
        f"{NAME}, $46.00 an hour\n"
    ) in told(ENDINGS[name][0]).message


@pytest.mark.parametrize("name", ENDINGS)
def test_no_step_is_told_twice(name: str) -> None:
    steps = [line for line in told(ENDINGS[name][0]).message.splitlines() if line.startswith("To do: ")]
    assert len(steps) == len(set(steps))


def test_a_price_that_nobody_verified_is_called_assumed() -> None:
    message = told(ended(opening=opening(outcome="refused", price_verified=False))).message
    assert "$46.00 an hour, assumed" in message


@pytest.mark.parametrize(
    ("billed", "says"), [((), "nothing of ours"), (None, "not known, because AWS could not be asked")]
)
def test_nothing_billed_is_not_the_same_as_not_known(billed: tuple[Billed, ...] | None, says: str) -> None:
    assert f"Billed now: {says}\n" in told(ENDINGS["quota"][0], billed).message


def test_all_that_is_billed_is_summed() -> None:
    other = Billed("other", "Creating", 1, 5_500_000_000)
    assert (
        f"$51.50 an hour: {NAME} (2 model units, InService), other (1 model unit, Creating)"
        in told(ENDINGS["quota"][0], (BILLED, other)).message
    )


@pytest.mark.parametrize("owner", ["mangaassist", "x" * 128, "漫画"])
@pytest.mark.parametrize("name", ENDINGS)
def test_a_subject_is_what_sns_takes(name: str, owner: str) -> None:
    written = notice(ENDINGS[name][0], owner, None)
    assert written is not None
    assert written.subject.isascii()
    assert written.subject.isprintable()
    assert 0 < len(written.subject) <= 100


def test_a_subject_says_whose_which_window_and_that_somebody_has_to_look() -> None:
    assert told(ENDINGS["quota"][0]).subject == "mangaassist: provisioned throughput for peak needs a look"
    unplanned = ended("sweep", None, failure=failed("StoreUnavailable"))
    assert told(unplanned).subject == "mangaassist: provisioned throughput for all windows needs a look"


def test_no_stack_is_sent() -> None:
    cause = json.dumps({"errorMessage": "not authorized", "errorType": "X", "stackTrace": ["File capacity.py, line 1"]})
    message = told(ended(opening=opening(), failure=failed("Bedrock.AccessDeniedException", cause))).message
    assert "Bedrock.AccessDeniedException not authorized" in message
    assert "stackTrace" not in message
    assert "capacity.py" not in message


@pytest.mark.parametrize("cause", ["", "plain words", "[1]", "7", "{}", "null"])
def test_a_cause_that_no_function_wrote_is_told_as_it_is(cause: str) -> None:
    assert failed("States.Timeout", cause).cause == cause


def well(**parts: Any) -> Ended:
    return ended(**parts)


@pytest.mark.parametrize(
    "what",
    [
        ended(notes=("it serves",)),
        ended(opening=opening(outcome="serving")),
        ended(opening=opening(outcome="overtaken")),
        ended(opening=opening(outcome="dry_run", mode="dry-run")),
        ended(opening=opening(outcome="refused", mode="dry-run", reasons=("it is legacy",))),
        ended(closing=(GONE,)),
        ended("close", closing=(GONE,)),
        ended("sweep", None, notes=("nothing is alive outside its window",)),
    ],
)
def test_nothing_is_sent_when_all_went_well(what: Ended) -> None:
    assert not is_trouble(what)
    assert not is_news(what)


def test_a_rehearsal_is_told_to_who_asked_and_to_nobody_else() -> None:
    refused = opening(outcome="refused", mode="live", reasons=("it is legacy",))
    assert not is_news(ended("plan", opening=refused))
    assert not is_news(ended("open", opening=refused))


def test_a_stray_is_told_although_it_was_closed() -> None:
    swept = ended("sweep", None, closing=(GONE,))
    assert not is_trouble(swept)
    assert is_news(swept)


# -- told once ---------------------------------------------------------------------------------------------------------


def test_the_same_trouble_has_the_same_gist_whatever_it_costs_by_now() -> None:
    def too_dear(day_usd: str, left_usd: int, began: str) -> Ended:
        reason = f"this purchase makes the day cost ${day_usd}, and provisioning.daily_usd of the policy is $250.00"
        refused = opening(
            outcome="refused", reasons=(reason,), planned_nano_usd=left_usd * 10**9, began_s=at(began), fence=left_usd
        )
        return ended(opening=refused)

    first, later = told(too_dear("1,299.00", 299, "17:30")), told(too_dear("295.17", 295, "17:35"))
    assert first.gist == later.gist, "or operators are told every five minutes"


def test_the_same_failure_has_the_same_gist_whichever_request_met_it() -> None:
    def timed_out(request_id: str) -> Ended:
        return ended(failure=failed("Sandbox.Timedout", f"RequestId: {request_id} Error: Task timed out"))

    one, other = "9a0f3c1e-0000-4000-8000-000000000000", "11111111-2222-4333-8444-555555555555"
    assert told(timed_out(one)).gist == told(timed_out(other)).gist
    assert one in told(timed_out(one)).message, "the message keeps it"


def test_different_troubles_have_different_gists() -> None:
    gists = {told(what).gist for what, _ in ENDINGS.values()}
    assert len(gists) == len(ENDINGS)
    assert (
        told(ended("open", opening=opening(outcome="refused"))).gist
        != told(ended("keep", opening=opening(outcome="refused"))).gist
    )


def test_a_gist_fits_into_its_record() -> None:
    assert len(told(ended(failure=failed("E", "x" * 5000))).gist) <= 512


# -- the sentence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (
            opening(outcome="dry_run"),
            "would buy 2 x amazon.nova-pro-v1:0:300k for peak of 2026-11-25, 6.5 h for $299.00",
        ),
        (opening(outcome="dry_run", price_verified=False), "for $299.00 (assumed price)"),
        (opening(outcome="serving"), "for peak of 2026-11-25 serves until 00:00 JST"),
        (opening(outcome="overtaken"), "for peak of 2026-11-25 is overtaken"),
    ],
)
def test_an_opening_in_a_sentence(what: Opening, says: str) -> None:
    assert says in summary(ended(opening=what))


@pytest.mark.parametrize("leaves", ["failed", "given_up"])
def test_what_came_to_nothing_is_trouble_although_it_is_gone(leaves: str) -> None:
    assert is_trouble(ended(closing=(closing(outcome="gone", leaves=leaves),)))


@pytest.mark.parametrize("what", [closing(), closing(outcome="draining"), closing(outcome="retained")])
def test_what_is_not_gone_is_trouble(what: Closing) -> None:
    assert is_trouble(ended(closing=(what,)))


def test_an_execution_that_had_nothing_to_do_says_why() -> None:
    assert summary(ended(notes=("it serves",))) == "it serves"
    assert summary(ended()) == "nothing to do"
