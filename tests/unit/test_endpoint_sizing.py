"""What one instance of an endpoint should be given, from measured steps: by hand, and for any of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mangaassist.capacity.endpoint_sizing import Size, Step, far_past, size, verdict

LIMIT_MS = 1500


def step(concurrency: int, first_p95_ms: float | None, answers_per_s: float = 1.0, errors: int = 0) -> Step:
    median = None if first_p95_ms is None else first_p95_ms / 2
    answers = 0 if first_p95_ms is None else 20
    return Step(concurrency, answers, errors, median, first_p95_ms, 4000.0, answers_per_s, answers_per_s * 100)


MEASURED = (step(1, 300, 0.25), step(2, 350, 0.48), step(4, 500, 0.90), step(8, 900, 1.60), step(16, 2400, 1.70))


def test_the_target_is_what_holds_less_headroom() -> None:
    found = size(MEASURED, LIMIT_MS)
    assert found is not None
    assert (found.concurrency, found.limit_found) == (8, True)
    assert found.target == 5  # 8 x 0.7 = 5.6
    # a quarter of the way from 4 to 8 at a time: 0.90 + 0.70 / 4 = 1.075 answers a second
    assert found.answers_per_minute == pytest.approx(64.5)
    assert found.answers_per_hour == pytest.approx(3870)


def test_a_peak_needs_whole_instances_at_the_target() -> None:
    found = Size(concurrency=8, limit_found=True, target=5, answers_per_minute=64.5)
    assert [found.instances(peak) for peak in (1, 64.5, 64.6, 129, 300)] == [1, 1, 2, 2, 5]


def test_full_headroom_gives_what_was_measured() -> None:
    found = size(MEASURED, LIMIT_MS, headroom=1.0)
    assert found is not None
    assert found.target == 8
    assert found.answers_per_minute == pytest.approx(96)


def test_below_the_first_step_the_rate_is_in_proportion() -> None:
    found = size([step(10, 300, 2.0)], LIMIT_MS)
    assert found is not None
    assert found.target == 7
    assert found.answers_per_minute == pytest.approx(84)


def test_the_target_is_at_least_one() -> None:
    found = size([step(1, 300, 0.25), step(2, 1600, 0.3)], LIMIT_MS)
    assert found is not None
    assert (found.concurrency, found.target) == (1, 1)
    assert found.answers_per_minute == pytest.approx(15)


def test_what_was_not_overrun_may_carry_more() -> None:
    found = size(MEASURED[:4], LIMIT_MS)
    assert found is not None
    assert not found.limit_found


def test_errors_do_not_hold_and_luck_above_them_does_not_count() -> None:
    found = size([step(4, 500, errors=1), step(1, 300), step(2, 350), step(8, 400)], LIMIT_MS)
    assert found is not None
    assert (found.concurrency, found.limit_found) == (2, True)


def test_the_limit_itself_still_holds() -> None:
    assert size([step(1, LIMIT_MS)], LIMIT_MS) is not None
    assert size([step(1, LIMIT_MS + 1)], LIMIT_MS) is None


def test_it_is_said_why_nothing_can_be_recommended() -> None:
    assert verdict(MEASURED, LIMIT_MS) == ""
    assert verdict([], LIMIT_MS) == "nothing was measured"
    slow = verdict([step(2, 9000), step(1, 2600)], LIMIT_MS)
    assert slow.startswith("even one at a time is too slow: 95 % of first texts come within 2,600 ms, not 1,500.")
    assert verdict([step(4, 2600)], LIMIT_MS).startswith("even 4 at a time is too slow")
    failing = verdict([step(1, 300, errors=5)], LIMIT_MS)
    assert failing == "even one at a time 5 of 25 answers failed: mend that first"
    assert verdict([step(1, None, 0.0)], LIMIT_MS).startswith("nothing was answered within the time")


def test_more_is_not_tried_after_errors_and_twice_the_limit() -> None:
    assert not far_past(step(8, 2 * LIMIT_MS), LIMIT_MS)
    assert far_past(step(8, 2 * LIMIT_MS + 1), LIMIT_MS)
    assert far_past(step(8, 300, errors=1), LIMIT_MS)
    assert far_past(step(8, None, 0.0), LIMIT_MS)


steps = st.lists(
    st.builds(
        step,
        st.integers(1, 200),
        st.floats(1, 10_000),
        st.floats(0.01, 100),
        st.sampled_from((0, 0, 0, 0, 3)),
    ),
    max_size=8,
    unique_by=lambda one: one.concurrency,
)
limits = st.floats(1, 10_000)
shares = st.floats(0.01, 1)


@given(steps, limits, limits, shares)
def test_a_stricter_limit_never_gives_a_larger_target(
    measured: list[Step], one: float, other: float, share: float
) -> None:
    strict, lax = (size(measured, limit, share) for limit in sorted((one, other)))
    assert strict is None or (lax is not None and strict.target <= lax.target)


@given(steps, limits, shares, shares)
def test_less_headroom_never_gives_a_smaller_target(
    measured: list[Step], limit: float, one: float, other: float
) -> None:
    careful, bold = (size(measured, limit, share) for share in sorted((one, other)))
    assert (careful is None) == (bold is None)
    assert careful is None or bold is None or careful.target <= bold.target


@given(steps, limits, shares)
def test_a_target_was_measured_to_hold_and_carries_something(measured: list[Step], limit: float, share: float) -> None:
    found = size(measured, limit, share)
    assert (found is None) == bool(verdict(measured, limit))
    if found is not None:
        assert 1 <= found.target <= found.concurrency
        assert 0 < found.answers_per_minute <= 60.001 * max(one.answers_per_s for one in measured)


@given(steps, limits, st.floats(0.1, 1e5), st.floats(0.1, 1e5))
def test_a_higher_peak_never_needs_fewer_instances(
    measured: list[Step], limit: float, one: float, other: float
) -> None:
    found = size(measured, limit)
    if found is not None:
        low, high = sorted((one, other))
        assert 1 <= found.instances(low) <= found.instances(high)
        assert found.instances(high) * found.answers_per_minute >= high * (1 - 1e-6)
