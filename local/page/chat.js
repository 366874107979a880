// Draws the conversation. All text of shoppers and models is set as text, never as markup.

import { Client, isOver } from "/client.js";
import { WORDS, preferred } from "/words.js";

const byId = (id) => document.getElementById(id);
const question = byId("question");
const drawn = new Map(); // turn -> its elements
let language = preferred();
let connection = "connecting";
let current = null; // the turn that the stop button stops

const client = new Client({ user: userName(), changed: draw, state: showConnection, forgotten: sayForgotten });

function userName() {
  const asked = new URLSearchParams(location.search).get("user");
  const known = asked ?? sessionStorage.getItem("user") ?? `shopper-${crypto.randomUUID().slice(0, 6)}`;
  sessionStorage.setItem("user", known);
  return known;
}

const words = () => WORDS[language];

// ---- language

function translate(root = document) {
  for (const element of root.querySelectorAll("[data-word]")) element.textContent = words()[element.dataset.word];
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", words()[element.dataset.label]);
    if (element.tagName === "BUTTON") element.title = words()[element.dataset.label];
  }
}

function speak(chosen) {
  language = chosen;
  localStorage.setItem("language", chosen);
  document.documentElement.lang = chosen;
  translate();
  const toggle = byId("language");
  toggle.textContent = words().other;
  toggle.lang = chosen === "ja" ? "en" : "ja";
  question.placeholder = words().placeholder;
  byId("examples").replaceChildren(...words().examples.map(exampleButton));
  showConnection(connection);
  for (const turn of drawn.keys()) draw(turn);
}

function exampleButton(text) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  button.onclick = () => ask(text);
  const item = document.createElement("li");
  item.append(button);
  return item;
}

// ---- what is shown

function showConnection(name) {
  connection = name;
  byId("connection").dataset.state = name;
  byId("connection-text").textContent = words()[name];
  for (const turn of drawn.keys()) if (!isOver(turn)) draw(turn);
}

function draw(turn) {
  const parts = drawn.get(turn) ?? append(turn);
  const follows = isAtEnd();
  drawText(parts, turn);
  const over = isOver(turn);
  parts.answer.dataset.state = over ? "over" : turn.text ? "writing" : "waiting";
  parts.answer.setAttribute("aria-busy", String(!over));
  show(parts.notice, notice(turn));
  if (turn.end) drawEnd(parts, turn.end);
  if (over && !parts.told) tell(parts, turn);
  if (current && isOver(current)) current = null;
  byId("stop").hidden = !current;
  byId("send").hidden = Boolean(current);
  if (follows) toEnd();
}

function append(turn) {
  byId("welcome").hidden = true;
  byId("forget").hidden = false;
  const fragment = byId("turn").content.cloneNode(true);
  translate(fragment);
  const find = (selector) => fragment.querySelector(selector);
  const parts = {
    item: find(".turn"), answer: find(".answer"), text: find(".text"), notice: find(".notice"), after: find(".after"),
    citations: find(".citations"), facts: find(".facts"), attempts: find(".attempts"), up: find(".up"), down: find(".down"), shown: 0, told: false,
  };
  find(".asked-text").textContent = turn.question;
  for (const rating of ["up", "down"]) parts[rating].onclick = () => rate(parts, turn, rating);
  drawn.set(turn, parts);
  byId("turns").append(fragment);
  toEnd();
  return parts;
}

// Each delta becomes an element of its own, so that it can appear softly; a restart begins anew.
function drawText(parts, turn) {
  if (turn.pieces.length < parts.shown) {
    parts.text.replaceChildren();
    parts.shown = 0;
  }
  for (const piece of turn.pieces.slice(parts.shown)) {
    parts.text.append(Object.assign(document.createElement("span"), { textContent: piece }));
  }
  parts.shown = turn.pieces.length;
}

function notice(turn) {
  if (turn.error) {
    const reference = turn.error.reference ? ` (${turn.error.reference})` : "";
    return (turn.error.message ?? words().gateway) + reference;
  }
  if (turn.end) return words().finishes[turn.end.finish] ?? "";
  return client.connected ? "" : turn.id ? words().closed : words().unsent;
}

function drawEnd(parts, end) {
  parts.after.hidden = false;
  const names = words().facts;
  const facts = {
    target: end.target, model: end.model, reason: words().reasons[end.reason] ?? end.reason,
    first: seconds(end.first_text_ms), total: seconds(end.total_ms), cost: dollars(end.cost_usd),
  };
  parts.facts.replaceChildren(
    ...Object.entries(facts).filter(([, value]) => value).map(([name, value]) => {
      const pair = document.createElement("div");
      pair.dataset.fact = name;
      pair.append(cell("dt", names[name]), cell("dd", value));
      return pair;
    }),
  );
  parts.citations.hidden = end.citations.length === 0;
  parts.citations.replaceChildren(...end.citations.map(citation));
  parts.attempts.hidden = end.attempts.length === 0;
  const head = parts.attempts.querySelector("thead tr");
  head.replaceChildren(...words().columns.map((name) => Object.assign(cell("th", name), { scope: "col" })));
  parts.attempts.querySelector("tbody").replaceChildren(...end.attempts.map(attemptRow));
}

// A product that the answer names, at its price and stock of that moment.
function citation(product) {
  const item = document.createElement("li");
  item.append(cell("cite", words().cited.title(product)), cell("span", words().cited.author(product)));
  const facts = [
    product.price_yen === null ? "" : words().cited.price(product.price_yen),
    product.stock === null ? "" : words().cited.stock(product.stock),
    product.sample ? words().cited.sample : "",
  ];
  item.append(...facts.filter(Boolean).map((fact) => cell("span", fact)));
  return item;
}

function attemptRow(attempt) {
  const row = document.createElement("tr");
  const usage = `${attempt.usage.input_tokens} / ${attempt.usage.output_tokens}`;
  const values = [
    attempt.target, attempt.model, attempt.outcome, seconds(attempt.first_text_ms), seconds(attempt.total_ms),
    attempt.usage.estimated ? `≈ ${usage}` : usage, dollars(attempt.cost_usd),
  ];
  row.append(...values.map((value) => cell("td", value || "–")));
  return row;
}

const cell = (name, text) => Object.assign(document.createElement(name), { textContent: text });
const seconds = (ms) => (ms === null ? "" : `${(ms / 1000).toFixed(2)} s`);
const dollars = (usd) => `$${usd.toFixed(6)}`;

function show(element, text) {
  element.textContent = text;
  element.hidden = !text;
}

// One announcement when the answer is complete: a reader should not hear it in shreds.
function tell(parts, turn) {
  parts.told = true;
  byId("status").textContent = `${words().answered}${turn.text} ${notice(turn)}`;
}

// ---- where the reader is

const isAtEnd = () => document.documentElement.scrollHeight - innerHeight - scrollY < 80;
const toEnd = () => scrollTo({ top: document.documentElement.scrollHeight });

addEventListener("scroll", () => (byId("latest").hidden = isAtEnd()), { passive: true });
byId("latest").onclick = toEnd;

// ---- what the shopper does

function ask(text) {
  if (!text.trim() || current) return;
  current = client.ask(text.trim());
  byId("status").textContent = words().asking;
  draw(current);
  toEnd();
}

function submit() {
  if (current) return;
  ask(question.value);
  question.value = "";
  question.focus();
}

function stop() {
  if (current) client.cancel(current);
}

function rate(parts, turn, rating) {
  client.rate(turn, rating);
  for (const name of ["up", "down"]) parts[name].setAttribute("aria-pressed", String(name === rating));
}

byId("form").onsubmit = (event) => {
  event.preventDefault();
  submit();
};
question.onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return; // 229: an IME at work
  event.preventDefault();
  submit();
};
if (!CSS.supports("field-sizing", "content")) {
  question.oninput = () => {
    question.style.height = "auto";
    question.style.height = `${question.scrollHeight}px`;
  };
}
addEventListener("keydown", (event) => event.key === "Escape" && !event.isComposing && stop());
byId("stop").onclick = stop;
byId("language").onclick = () => speak(language === "ja" ? "en" : "ja");
byId("fresh").onclick = () => {
  stop();
  client.begin();
  clear();
};
byId("forget").onclick = () => {
  client.forget();
  clear();
};

function sayForgotten() {
  byId("status").textContent = words().forgotten;
}

function clear() {
  current = null;
  drawn.clear();
  byId("turns").replaceChildren();
  byId("welcome").hidden = false;
  byId("forget").hidden = true;
  byId("stop").hidden = true;
  byId("send").hidden = false;
  question.focus();
}

speak(language);
client.connect();
question.focus();
