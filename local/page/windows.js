// What /twin/state tells of provisioned capacity, as the few facts that a person watches: pure, and without words.

const MINUTE_MS = 60_000;
const DAY_MINUTES = 24 * 60;
const DAY_MS = DAY_MINUTES * MINUTE_MS;
const JST_MS = 9 * 60 * MINUTE_MS;
const BOUGHT_BEFORE = 29; // minutes: capacity is bought half an hour ahead, at a tick of the schedule
const WINDOW_TAG = "mangaassist:window";
const DAY_TAG = "mangaassist:day";

export function read(state) {
  const now = Date.parse(state.clock.now);
  const alive = state.provisioned.filter(isAlive);
  return {
    now,
    moved: state.clock.moved,
    windows: state.windows.map((window) => readWindow(window, state, now)),
    alive: { units: sum(alive, (it) => it.units), unitHours: sum(alive, (it) => it.unit_hours) },
    others: sum(alive.filter((it) => !state.windows.some((window) => isOf(window, it))), (it) => it.units),
    notices: state.notices,
  };
}

// What its purchases do, and the meter of the last day on which any was made.
function readWindow(window, state, now) {
  const row = state.situation[`CAPACITY#${window.name}`] ?? {};
  const bought = state.provisioned.filter((it) => isOf(window, it));
  const day = bought.at(-1)?.tags[DAY_TAG];
  const ofDay = bought.filter((it) => it.tags[DAY_TAG] === day);
  return {
    ...window,
    alive: bought.filter(isAlive).map((it) => ({ ...phase(it, row, now), units: it.units })),
    rest: rest(ofDay.at(-1), now),
    day,
    unitHours: sum(ofDay, (it) => it.unit_hours),
    spans: bought.flatMap((it) => spans(it, now)),
    moments: moments(window, now),
  };
}

function phase({ arn, status, in_service_at: ready }, row, now) {
  if (row.draining && arn in row.draining) return { name: "draining", at: row.draining[arn] * 1000 };
  if (status === "Failed") return { name: "failed" };
  if (status === "Creating") return { name: "creating", at: ready && Date.parse(ready) };
  if (row.arn !== arn) return { name: "created" };
  const at = row.until_s * 1000;
  if (at <= now) return { name: "ended", at };
  return { name: row.saturated_until_s * 1000 > now ? "full" : "serving", at };
}

// What to say of a window without capacity: how the last of it went, while that is of this day or the night before.
function rest(last, now) {
  const at = Date.parse(last?.deleted_at);
  if (!(now - DAY_MS < at && at <= now)) return { name: "none" };
  return last.in_service_at ? { name: "none", at } : { name: "lost", at };
}

// Where in the day of `now` a purchase was made and paid for: parts of the day, 0 to 1.
function spans(purchase, now) {
  const [created, until] = [Date.parse(purchase.created_at), Date.parse(purchase.deleted_at) || now];
  const ready = Math.min(until, Date.parse(purchase.in_service_at) || until);
  return [span("creating", created, ready, now), span("serving", ready, until, now)].filter((it) => it.from < it.to);
}

function span(name, from, to, now) {
  const part = (at) => Math.min(1, Math.max(0, (at - midnight(now)) / DAY_MS));
  return { name, from: part(from), to: part(to) };
}

// The next time that it is so late: the clock is only ever moved forward, as time goes.
function moments(window, now) {
  const [start, end] = [minuteOf(window.start), minuteOf(window.end)];
  const wanted = { buys: start - BOUGHT_BEFORE, starts: start, ends: end, gone: end + 1 };
  return Object.entries(wanted).map(([name, minute]) => {
    const at = nextAt(minute, now);
    const isMidnight = minute === DAY_MINUTES; // the end of one day rather than the beginning of the next
    return { name, at, label: isMidnight ? "24:00" : clock(at), tomorrow: midnight(isMidnight ? at - 1 : at) > now };
  });
}

// The next instant at which it is so many minutes after midnight.
export function nextAt(minute, now) {
  const today = midnight(now) + ((minute + DAY_MINUTES) % DAY_MINUTES) * MINUTE_MS;
  return today > now ? today : today + DAY_MS;
}

// A window as parts of the day; one that crosses midnight is two.
export function parts(window) {
  const [start, end] = [minuteOf(window.start) / DAY_MINUTES, minuteOf(window.end) / DAY_MINUTES];
  return start < end ? [{ from: start, to: end }] : [{ from: start, to: 1 }, { from: 0, to: end }].filter((it) => it.from < it.to);
}

export const partOfDay = (at) => (at - midnight(at)) / DAY_MS;
export const iso = (at) => `${japan(at).slice(0, 19)}+09:00`;
export const clock = (at) => japan(at).slice(11, 16);
export const clockWithSeconds = (at) => japan(at).slice(11, 19);
export const endClock = (at) => (at === midnight(at) ? "24:00" : clock(at));

const isAlive = (purchase) => purchase.deleted_at === null;
const isOf = (window, purchase) => purchase.tags[WINDOW_TAG] === window.name;
const sum = (list, of) => list.reduce((total, it) => total + of(it), 0);
const japan = (at) => new Date(at + JST_MS).toISOString(); // its UTC reads as Japan's clock
const midnight = (at) => Math.floor((at + JST_MS) / DAY_MS) * DAY_MS - JST_MS;

function minuteOf(text) {
  const [hours, minutes] = text.split(":").map(Number);
  return hours * 60 + minutes;
}
