// The console: turns in time, who answers, money against the day's curve, capacity by the clock, and switches for faults.
// It looks at /twin/state and /twin/turns once a second, and shows no word of what was asked or answered.

import { Client } from "/client.js";
import { WORDS } from "/console-words.js";
import { isSpoken, lineOf, PROMISE_MS, scaleOf, shares, spentBy } from "/turns.js";
import { clock as clockOf, iso, nextAt, partOfDay, parts } from "/windows.js";

const EVERY_MS = 1000;
const PATIENCE_MS = 5000;
const SHOWN_TURNS = 30;
const READ_TURNS = 1000;
const BREAKS_AFTER = { cut: 12, stall: 12 }; // tokens
const SLOW = { first_token_ms: 5000, token_ms: 40 };
const MODEL_FAULTS = ["", "hang", "slow", "throttle", "unavailable", "cut", "stall", "garbage", "denied"];
const THING_FAULTS = ["", "hang", "throttle", "unavailable"];
const THINGS = ["dynamodb", "search", "embeddings", "cache", "gateway"];
const UNKEPT_AFTER_MS = 5000; // what has ended and is in no ledger by then never will be: the tables fail
const DAY_MINUTES = 1440;
const LEAST_SHARE = 1e-6; // of the budget; the scale is logarithmic, because a twin spends little of it

const $ = (id) => document.getElementById(id);
const words = () => WORDS[document.documentElement.lang];
const running = new Map(); // message id -> the client's turn, until the ledger has it
const endedAt = new Map(); // message id -> when its end was first seen here
let state = null;
let lines = [];
let dragging = false;

// ---- looking

async function get(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

async function look() {
  try {
    const [now, { turns }] = await Promise.all([get("/twin/state"), get(`/twin/turns?limit=${READ_TURNS}`)]);
    state = now;
    lines = turns.map(lineOf);
    $("away").hidden = true;
    draw();
  } catch {
    $("away").hidden = false;
  }
  setTimeout(look, EVERY_MS);
}

async function change(path, method, body) {
  let answer;
  try {
    answer = await fetch(path, { method, body: body && JSON.stringify(body), headers: { "content-type": "application/json" } });
  } catch {
    return; // nobody is there, as the next look tells
  }
  $("refused").hidden = answer.ok;
  set($("refused"), answer.ok ? "" : words().refused((await answer.json()).error));
}

// ---- drawing

function draw() {
  drawClock();
  drawMoney();
  drawShares();
  drawSwitches();
  drawTurns();
}

function drawClock() {
  const now = Date.parse(state.clock.now);
  set($("date"), state.clock.now.slice(0, 10));
  set($("moved"), state.clock.moved ? words().moved : words().unmoved);
  if (!dragging) {
    set($("now"), clockOf(now));
    $("minute").value = Math.floor(partOfDay(now) * DAY_MINUTES);
    $("minute").setAttribute("aria-valuetext", clockOf(now));
  }
  const shown = state.windows.map((it) => ({
    it, name: `${words().windows[it.name] ?? it.name} ${it.start}–${it.end}`,
    serves: Boolean(state.capacity[it.target]) && state.capacity[it.target].until_s * 1000 > now,
  }));
  $("windows").replaceChildren(...shown.flatMap(({ it, name, serves }) => parts(it).map((part) => bandOf(part, name, serves))));
  $("windows").setAttribute("aria-label", shown.map(({ name }) => name).join(", "));
  fill($("capacity"), shown.map(({ it, name, serves }) => {
    const what = serves ? words().windows.serving(state.capacity[it.target].units) : words().windows.none;
    return item(`${name}: ${what}`, serves ? "good" : "");
  }));
}

function bandOf({ from, to }, name, serves) {
  const band = element("i", serves ? "serves" : "");
  band.style.left = `${100 * from}%`;
  band.style.width = `${100 * (to - from)}%`;
  band.title = name;
  return band;
}

const usd = (nano, digits) => (nano / 1e9).toFixed(digits);

function drawMoney() {
  const { spent_nano_usd: used, spent_by_hour_nano_usd: inHour, limit_nano_usd: limit, allowed, tier } = state.spend;
  const hour = Math.floor(partOfDay(Date.parse(state.clock.now)) * 24);
  const pace = 100 * state.spend.pace;
  set($("spent"), words().ofBudget(usd(used, 4), usd(limit, 0)));
  set($("pace"), words().pace(pace < 10 ? pace.toFixed(2) : pace.toFixed(0)) + (tier ? ` (${tier})` : ""));
  $("pace").dataset.tier = tier ? "bad" : "";
  const spent = spentBy(inHour, hour, limit);
  const height = (share) => 1 - Math.max(0, Math.log10(Math.max(share, LEAST_SHARE) / LEAST_SHARE) / -Math.log10(LEAST_SHARE));
  const path = (values) => values.map((value, at) => `${at ? "L" : "M"}${at * 10 + 10},${4 + 84 * height(value)}`).join(" ");
  $("curve").replaceChildren(curve(path(allowed), "allowed"), curve(path(spent), "spent"), mark(hour * 10 + 10));
  $("curve").setAttribute("aria-label", `${$("spent").textContent}, ${$("pace").textContent}`);
}

function drawShares() {
  fill($("targets"), shares(lines).map(({ target, count, share }) => {
    const row = element("li");
    const bar = element("i", `bar ${family(target)}`);
    bar.style.width = `${100 * share}%`;
    row.append(element("span", "name", target), element("span", "track", bar), element("span", "", `${count} · ${(100 * share).toFixed(0)}%`));
    return row;
  }));
}

const family = (target) => (
  target.endsWith("sonnet") ? "quality" : target.endsWith("haiku") ? "fast" : ["catalogue", "error"].includes(target) ? "none" : "own"
);

function drawSwitches() {
  keepRows(new Set([...Object.keys(state.targets), ...THINGS, ...Object.keys(state.faults)]));
  for (const row of $("switches").children) drawSwitch(row, row.dataset.key);
}

// One row for whatever can fail here and whatever does; those that stay are left alone, as one may be in use.
function keepRows(keys) {
  const rows = new Map([...$("switches").children].map((row) => [row.dataset.key, row]));
  for (const [key, row] of rows) if (!keys.has(key)) row.remove();
  for (const key of keys) if (!rows.has(key)) $("switches").append(switchOf(key));
}

function drawSwitch(row, key) {
  const select = row.querySelector("select");
  const fault = state.faults[key]?.fault ?? "";
  if (![...select.options].some((it) => it.value === fault)) select.append(optionOf(fault));
  if (document.activeElement !== select) select.value = fault;
  row.dataset.failing = key in state.faults;
  const health = row.querySelector(".health");
  set(health, key in state.targets ? healthOf(state.health[key]) : "");
  health.dataset.open = isOpen(state.health[key]);
}

const isOpen = (health) => Boolean(health) && health.open_until_s * 1000 > Date.parse(state.clock.now);

function healthOf(health) {
  if (isOpen(health)) return words().health.open(clockOf(health.open_until_s * 1000));
  return health?.failures ? words().health.failing(health.failures) : words().health.well;
}

function switchOf(key) {
  const row = element("li");
  row.dataset.key = key;
  const select = element("select");
  select.id = `fault-${key}`;
  select.append(...(key in state.targets ? MODEL_FAULTS : THING_FAULTS).map(optionOf));
  select.addEventListener("change", () => switchFault(key, select.value));
  const label = element("label", "", words().things[key] ?? key);
  label.htmlFor = select.id;
  row.append(label, select, element("span", "health"));
  return row;
}

function optionOf(fault) {
  const option = element("option", "", words().faultNames[fault] ?? fault);
  option.value = fault;
  return option;
}

async function switchFault(key, fault) {
  if (!fault) return change(`/twin/faults/${key}`, "DELETE");
  const more = fault === "slow" ? SLOW : fault in BREAKS_AFTER ? { after_tokens: BREAKS_AFTER[fault] } : {};
  return change("/twin/faults", "PUT", { [key]: { fault, ...more } });
}

function drawTurns() {
  const shown = lines.slice(0, SHOWN_TURNS);
  for (const [id, turn] of running) if (isOver(id, turn)) running.delete(id);
  const scale = scaleOf(shown);
  $("none").hidden = shown.length + running.size > 0;
  fill($("turns"), [...[...running.values()].map(runningRow), ...shown.map((it) => rowOf(it, scale))]);
  fill($("legend"), [
    key("waiting", words().waiting), key("quality", words().speaking), key("failed", words().failed),
    key("first", words().firstText), key("promise", words().promise),
  ]);
}

function isOver(id, turn) {
  if (turn.end && !endedAt.has(id)) endedAt.set(id, Date.now());
  return turn.error || lines.some((it) => it.id === turn.id) || Date.now() - endedAt.get(id) > UNKEPT_AFTER_MS;
}

function runningRow(turn) {
  const row = element("li", "running");
  row.append(element("span", "about", words().running), element("span", "track", element("i", "pulse")), element("span", "", `${turn.text.length}`));
  return row;
}

function rowOf(line, scale) {
  const row = element("li");
  row.dataset.turn = line.id;
  const track = element("span", "track");
  const place = (name, from, until, title) => {
    const bar = element("i", name);
    bar.style.left = `${(100 * from) / scale}%`;
    bar.style.width = `${Math.max(0.4, (100 * (until - from)) / scale)}%`;
    bar.title = title;
    track.append(bar);
  };
  for (const it of line.attempts) {
    const said = `${it.target}: ${it.outcome}, ${seconds(it.until - it.from)} s`;
    const went = isSpoken(it.outcome) ? "" : " failed";
    place(`attempt waiting${went}`, it.from, it.speaksFrom ?? it.until, said);
    if (it.speaksFrom !== null) place(`attempt ${family(it.target)}${went}`, it.speaksFrom, it.until, said);
  }
  if (!line.attempts.length) place("attempt none", 0, Math.max(line.total, 40), line.target);
  if (line.firstText !== null) place("first", line.firstText, line.firstText, `${words().firstText} ${seconds(line.firstText)} s`);
  if (PROMISE_MS < scale) place("promise", PROMISE_MS, PROMISE_MS, words().promise);
  const chain = line.attempts.map((it) => `${it.target}:${it.outcome}`).join(" → ") || line.target;
  row.append(
    element("span", "about", `${clockOf(line.settledAt)} ${words().kinds[line.kind] ?? ""}`),
    track,
    element("span", "sum", words().line(seconds(line.total), usd(line.costNanoUsd, 5))),
    element("span", "chain", `${line.reason}${line.tier ? ` (${line.tier})` : ""} · ${chain}${line.target === "catalogue" ? " → catalogue" : ""}`),
  );
  return row;
}

const seconds = (ms) => (ms / 1000).toFixed(1);

// ---- elements

function element(name, className = "", content = null) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (content !== null) made.append(content);
  return made;
}

const item = (text, className) => element("li", className, text);
const key = (name, text) => { const made = element("span", "", element("i", name)); made.append(text); return made; };
const fill = (list, rows) => list.replaceChildren(...rows);
const set = (it, text) => { if (it.textContent !== text) it.textContent = text; };

function drawn(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}

const curve = (d, className) => drawn("path", { d, class: className });
const mark = (x) => drawn("line", { x1: x, x2: x, y1: 4, y2: 88, class: "now" });

// ---- what a person does

function speak(language) {
  document.documentElement.lang = language;
  for (const it of document.querySelectorAll("[data-word]")) set(it, words()[it.dataset.word]);
  set($("language"), words().other);
  $("minute").setAttribute("aria-label", words().dragHint);
  fill($("questions"), words().questions.map(([name, question]) => {
    const button = element("button", "", name);
    button.type = "button";
    button.addEventListener("click", () => { const turn = client.ask(question); running.set(turn.messageId, turn); if (state) draw(); });
    return button;
  }));
  fill($("switches"), []);
  if (state) draw();
}

const client = new Client({ user: "console", changed: () => {}, state: () => {}, forgotten: () => {} });

$("language").addEventListener("click", () => speak(document.documentElement.lang === "ja" ? "en" : "ja"));
$("mend").addEventListener("click", () => change("/twin/faults", "DELETE"));
$("real").addEventListener("click", () => change("/twin/clock", "DELETE"));
const draggedTo = () => nextAt($("minute").valueAsNumber, Date.parse(state.clock.now)); // forward only, as time goes
$("minute").addEventListener("input", () => {
  if (!state) return;
  dragging = true;
  set($("now"), clockOf(draggedTo()));
});
$("minute").addEventListener("change", async () => {
  if (state) await change("/twin/clock", "PUT", { now: iso(draggedTo()) });
  dragging = false;
});

speak(navigator.language.startsWith("ja") ? "ja" : "en");
client.connect();
look();
