// A turn of the ledger as a line in time: pure, and without words.

export const PROMISE_MS = 3000;
const SHORTEST_MS = 4000; // of the scale, so that quick turns do not look long

// The ledger tells how long each attempt took, not when it began: they follow each other, after what came before them.
export function lineOf(turn) {
  const speaking = turn.attempts.findIndex((it) => it.first_text_ms !== null && it.first_text_ms !== undefined);
  const before = turn.attempts.slice(0, Math.max(0, speaking));
  const waited = speaking < 0 ? 0 : sum(before, (it) => it.total_ms) + turn.attempts[speaking].first_text_ms;
  let at = speaking < 0 ? 0 : Math.max(0, (turn.first_text_ms ?? waited) - waited);
  const lead = at;
  const attempts = turn.attempts.map((it) => {
    const from = at;
    at += it.total_ms;
    const firstText = it.first_text_ms ?? null;
    return {
      target: it.target, outcome: it.outcome, from, until: at,
      speaksFrom: firstText === null ? null : from + firstText,
      costNanoUsd: it.cost_nano_usd,
    };
  });
  return {
    id: turn.turn_id, reason: turn.reason, kind: turn.kind ?? "", finish: turn.finish, tier: turn.tier ?? "", lead, attempts,
    firstText: turn.first_text_ms, total: Math.max(turn.total_ms, at), costNanoUsd: turn.cost_nano_usd,
    settledAt: Date.parse(turn.settled_at), target: answeredBy(turn),
  };
}

export const scaleOf = (lines) => Math.max(SHORTEST_MS, ...lines.map((it) => it.total));

export const isSpoken = (outcome) => ["answered", "cancelled", "deadline", "length"].includes(outcome);

// Who answered: the last attempt that was answered, a kept answer, or else the catalogue; nobody where it was an error.
function answeredBy(turn) {
  if (turn.finish === "error") return "error";
  if (turn.kept) return "kept";
  const last = turn.attempts.at(-1);
  return last && isSpoken(last.outcome) && turn.finish !== "catalogue" ? last.target : "catalogue";
}

export function shares(lines) {
  const counts = new Map();
  for (const { target } of lines) counts.set(target, (counts.get(target) ?? 0) + 1);
  return [...counts].map(([target, count]) => ({ target, count, share: count / lines.length }))
    .sort((one, other) => other.count - one.count);
}

// What was spent by the end of each hour of the day, in shares of the budget, up to the hour of `now`.
export function spentBy(spentInHour, nowHour, limitNanoUsd) {
  let spent = 0;
  return spentInHour.slice(0, nowHour + 1).map((amount) => (spent += amount) / limitNanoUsd);
}

const sum = (list, of) => list.reduce((total, it) => total + of(it), 0);
