// The panel of provisioned capacity. It looks at /twin/state, and where there is none, nobody sees it.

import { WORDS } from "/words.js";
import { clock, clockWithSeconds, endClock, iso, partOfDay, parts, read } from "/windows.js";

const OPEN_WAIT_MS = 1000;
const CLOSED_WAIT_MS = 5000;
const LONGEST_WAIT_MS = 60_000; // between looks at what is not there
const PATIENCE_MS = 5000;
const MOST_NOTICES = 5;

const byId = (id) => document.getElementById(`capacity-${id}`);
const panel = document.getElementById("capacity");
const language = () => document.documentElement.lang;
const words = () => WORDS[language()].provisioned;
const rows = new Map(); // window's name -> its elements
const told = new Map(); // notice -> its element
const lastPhase = new Map(); // window's name -> what was last said of it
let seen = null; // what was read last
let failures = 0;
let looks = 0; // so that only the newest look counts
let timer = 0;

// ---- looking

async function look() {
  clearTimeout(timer);
  const mine = ++looks;
  let found = null;
  try {
    const answer = await fetch("/twin/state", { signal: AbortSignal.timeout(PATIENCE_MS) });
    found = answer.ok ? read(await answer.json()) : null;
  } catch {
    // there is no twin, or it is starting again
  }
  if (mine !== looks) return;
  failures = found ? 0 : failures + 1;
  if (found || failures > 1) seen = found;
  timer = setTimeout(look, failures ? Math.min(LONGEST_WAIT_MS, CLOSED_WAIT_MS * 2 ** (failures - 1)) : usualWait());
  draw();
}

function rest() {
  clearTimeout(timer);
  looks += 1;
}

const isOpen = () => byId("toggle").getAttribute("aria-expanded") === "true";
const usualWait = () => (isOpen() ? OPEN_WAIT_MS : CLOSED_WAIT_MS);

// ---- drawing: elements stay, so that neither focus nor an opened notice is lost

function draw() {
  panel.hidden = !seen;
  if (!seen) return;
  setText(byId("line"), line());
  if (!isOpen()) return;
  setText(byId("now"), clockWithSeconds(seen.now));
  setText(byId("date"), words().date(date(seen.now)));
  setText(byId("moved"), seen.moved ? words().moved : words().unmoved);
  byId("moved").dataset.moved = seen.moved;
  drawDay();
  drawWindows();
  setText(byId("alive"), alive());
  drawNotices();
  announce();
}

function line() {
  const busy = seen.windows.flatMap((it) => it.alive.map(({ name }) => `${windowName(it)} ${words().short[name]}`));
  const facts = [
    clock(seen.now), ...busy, seen.alive.units ? words().units(seen.alive.units) : words().short.none,
    seen.notices.length && words().notices(seen.notices.length), seen.moved && words().moved,
  ];
  return facts.filter(Boolean).join(" · ");
}

function drawDay() {
  const hours = seen.windows.map((it) => `${windowName(it)} ${hoursOf(it)}`).join(", ");
  byId("day").setAttribute("aria-label", words().day(hours, clock(seen.now)));
  byId("marker").style.left = percent(partOfDay(seen.now));
  byId("plan").replaceChildren(...seen.windows.flatMap((it) => parts(it).map((part) => piece(part, windowName(it)))));
  byId("bought").replaceChildren(...seen.windows.flatMap((it, number) => it.spans.map((part) => lifeLine(part, number))));
}

function piece(part, text) {
  const element = make("span", text);
  element.style.left = percent(part.from);
  element.style.width = percent(part.to - part.from);
  return element;
}

function lifeLine(part, number) {
  const element = piece(part, "");
  element.dataset.phase = part.name;
  element.style.top = `${number * 0.4}rem`;
  return element;
}

function drawWindows() {
  const names = seen.windows.map((it) => it.name);
  if (names.join() !== [...rows.keys()].join()) {
    rows.clear();
    for (const window of seen.windows) rows.set(window.name, makeRow(window));
    byId("windows").replaceChildren(...[...rows.values()].map((row) => row.item));
  }
  for (const window of seen.windows) drawWindow(rows.get(window.name), window);
}

function makeRow(window) {
  const item = document.getElementById("window").content.cloneNode(true).querySelector("li");
  item.dataset.window = window.name;
  const find = (name) => item.querySelector(`.window-${name}`);
  const buttons = window.moments.map(() => {
    const button = make("button", "");
    button.type = "button";
    button.append(make("b", ""), make("span", ""));
    button.onclick = () => setClock("PUT", { now: button.dataset.at });
    return button;
  });
  find("moments").append(...buttons);
  return { item, buttons, name: find("name"), hours: find("hours"), phases: find("phases"), meter: find("meter"), moments: find("moments") };
}

function drawWindow(row, window) {
  const phases = phasesOf(window);
  setText(row.name, windowName(window));
  setText(row.hours, `${hoursOf(window)} · ${window.target}`);
  while (row.phases.children.length > phases.length) row.phases.lastChild.remove();
  while (row.phases.children.length < phases.length) row.phases.append(make("p", ""));
  phases.forEach((phase, number) => {
    row.phases.children[number].dataset.phase = phase.name;
    setText(row.phases.children[number], phaseText(phase));
  });
  setText(row.meter, meter(window));
  row.moments.setAttribute("aria-label", words().moveFor(windowName(window)));
  window.moments.forEach((moment, number) => drawMoment(row.buttons[number], moment));
}

function drawMoment(button, moment) {
  const [time, caption] = button.children;
  button.dataset.moment = moment.name;
  button.dataset.at = iso(moment.at);
  setText(time, moment.tomorrow ? `${moment.label}⁺¹` : moment.label);
  setText(caption, words().moments[moment.name]);
  const label = words().moveTo(moment.tomorrow ? words().tomorrow(moment.label) : moment.label, words().moments[moment.name]);
  if (button.title !== label) {
    button.title = label;
    button.setAttribute("aria-label", label);
  }
}

function drawNotices() {
  const newest = seen.notices.slice(0, MOST_NOTICES).map((notice) => [JSON.stringify(notice), notice]);
  const wanted = new Set(newest.map(([key]) => key));
  for (const [key, element] of told) {
    if (!wanted.has(key)) told.delete(key) && element.remove();
  }
  for (const [key, notice] of newest.toReversed()) {
    if (told.has(key)) continue;
    told.set(key, makeNotice(notice));
    byId("notices").prepend(told.get(key));
  }
  byId("no-notices").hidden = newest.length > 0;
}

function makeNotice({ at, subject, message }) {
  const [item, details, summary] = ["li", "details", "summary"].map((name) => make(name, ""));
  const moment = Object.assign(make("time", `${at.slice(5, 10).replace("-", "/")} ${at.slice(11, 16)}`), { dateTime: at });
  summary.append(moment, " ", make("span", subject ?? ""));
  details.append(summary, make("p", message));
  item.append(details);
  return item;
}

// A reader hears of a window when what it does has changed.
function announce() {
  const changed = seen.windows.filter((it) => {
    const [before, { name }] = [lastPhase.get(it.name), phasesOf(it)[0]];
    lastPhase.set(it.name, name);
    return before && before !== name;
  });
  if (changed.length === 0) return;
  const text = changed.map((it) => `${windowName(it)}: ${phaseText(phasesOf(it)[0])}`).join(" / ");
  document.getElementById("status").textContent = text;
}

const windowName = (window) => words().windows[window.name] ?? window.name;
const phasesOf = (window) => (window.alive.length ? window.alive : [window.rest]);
const hoursOf = (window) => `${window.start}–${window.end}`;
const phaseText = ({ name, at }) => words().phases[name](at && (name === "draining" ? clockWithSeconds(at) : endClock(at)));
const alive = () =>
  [words().alive(seen.alive.units, seen.alive.unitHours.toFixed(2)), seen.others && words().others(seen.others)].filter(Boolean).join(" · ");
const date = (at) =>
  new Intl.DateTimeFormat(language(), { timeZone: "Asia/Tokyo", month: "short", day: "numeric", weekday: "short" }).format(at);

function meter(window) {
  const units = sumOfUnits(window) || window.units;
  return words().meter(units, window.unitHours.toFixed(2), window.day?.slice(5).replace("-", "/"));
}

const sumOfUnits = (window) => window.alive.reduce((total, it) => total + it.units, 0);
const percent = (part) => `${(part * 100).toFixed(3)}%`;
const make = (name, text) => Object.assign(document.createElement(name), { textContent: text });

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// ---- what a person does

async function setClock(method, wanted) {
  let trouble = "";
  try {
    const request = { method, headers: { "content-type": "application/json" }, signal: AbortSignal.timeout(PATIENCE_MS) };
    const answer = await fetch("/twin/clock", wanted ? { ...request, body: JSON.stringify(wanted) } : request);
    if (!answer.ok) trouble = (await answer.json()).error;
  } catch {
    trouble = words().unreachable;
  }
  byId("trouble").hidden = !trouble;
  setText(byId("trouble"), trouble);
  await look();
}

function open(wanted) {
  byId("toggle").setAttribute("aria-expanded", String(wanted));
  byId("body").hidden = !wanted;
  localStorage.setItem("capacity", wanted ? "open" : "closed");
  if (!document.hidden) look();
}

byId("toggle").onclick = () => open(!isOpen());
byId("real").onclick = () => setClock("DELETE");
document.addEventListener("visibilitychange", () => (document.hidden ? rest() : look()));
new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["lang"] });
open(localStorage.getItem("capacity") === "open");
