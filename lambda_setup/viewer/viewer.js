"use strict";
// Shows results: a page of items, and one item with its hypotheses and attention maps. Every text is set as
// text, never as markup. Items lie in blocks, which are unpacked when one of their items is opened.

const PAGE = 50;
const $ = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Isolated, so that a text that runs from right to left, or says so, turns nothing around it.
const words = (text) => element("bdi", { dir: "auto", textContent: text });
const visible = (token) => (token.length > 60 ? `${token.slice(0, 60)}…` : token) || "∅";

function bytes(text) {
  const binary = atob(text);
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

async function unpacked(node) {
  const stream = new Blob([bytes(node.textContent)]).stream();
  return new Response(stream.pipeThrough(new DecompressionStream("gzip"))).json();
}

const blocks = new Map();
function block(number) {
  if (!blocks.has(number)) blocks.set(number, unpacked($(`block-${number}`)));
  return blocks.get(number);
}

let index = [];      // of every item: what it is listed by, and beside it what it is found by
let found = [];      // the numbers of the items that are listed
let page = 0;
let current = -1;    // the place in found of the item that is shown
let size = 1;        // how many items a block has

function list() {
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  page = Math.min(Math.max(page, 0), pages - 1);
  $("page").textContent = `${page + 1} of ${pages}`;
  $("page-back").disabled = page === 0;
  $("page-on").disabled = page === pages - 1;
  $("found").textContent = `${found.length.toLocaleString()} of ${index.length.toLocaleString()}`;
  const shown = found.slice(page * PAGE, (page + 1) * PAGE);
  $("list").replaceChildren(...shown.map((number, offset) => {
    const button = element("button", { type: "button" },
      element("span", { className: "number", textContent: `${number} ` }), element("span", {}, words(index[number][0])));
    const place = page * PAGE + offset;
    if (place === current) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => show(place));
    return element("li", {}, button);
  }));
}

function search() {
  const asked = $("words").value.trim().toLocaleLowerCase();
  found = index.flatMap(([, text], number) => (text.toLocaleLowerCase().includes(asked) ? [number] : []));
  page = 0;
  current = -1;
  list();
  if (found.length) show(0);
  else $("item").replaceChildren(element("p", { textContent: "Nothing is found." }));
}

async function show(place) {
  if (place < 0 || place >= found.length) return;
  current = place;
  page = Math.floor(place / PAGE);
  list();
  const number = found[place];
  location.hash = `#${number}`;
  const record = (await block(Math.floor(number / size)))[number % size];
  if (current !== place) return; // another one was asked for meanwhile
  const steps = element("p", { className: "steps pages" });
  for (const [label, step] of [["Previous", -1], ["Next", 1]]) {
    const button = element("button", { type: "button", textContent: label, disabled: !(place + step in found) });
    button.addEventListener("click", () => show(place + step));
    steps.append(button);
  }
  const parts = record.hypotheses ? translation(record) : [fields(record)];
  $("item").replaceChildren(steps, element("h2", { textContent: `Item ${number}` }), ...parts);
}

function fields(record) {
  const made = element("dl");
  for (const [name, value] of Object.entries(record)) {
    const text = typeof value === "string" ? value : JSON.stringify(value, null, 1);
    made.append(element("dt", { textContent: name }), element("dd", {}, words(text)));
  }
  return made;
}

function translation(record) {
  const parts = [element("p", { className: "source" }, words(record.source))];
  if (!record.hypotheses.length) parts.push(element("p", { textContent: "It has no translation." }));
  record.hypotheses.forEach((hypothesis, rank) => {
    parts.push(element("h2", {}, `${rank + 1} `,
      element("span", { className: "score", textContent: `score ${hypothesis.score.toFixed(3)}` })));
    parts.push(element("p", { className: "text" }, words(hypothesis.text)));
    if (hypothesis.weights && record.source_tokens) {
      parts.push(map(record.source_tokens, hypothesis.tokens, hypothesis.weights));
    }
  });
  return parts;
}

// A heat map is a table: it can be read aloud, copied and printed. One hue from light to dark is told apart by
// everybody; the number is said for the cell that is pointed at, or moved to by the arrow keys.
function map(source, target, packed) {
  const raw = bytes(packed);
  const weights = new DataView(raw.buffer);
  const at = (row, column) => weights.getUint16(2 * (row * source.length + column), true) / 65535;
  const table = element("table", { className: "map" });
  table.append(element("caption", { className: "number", textContent: "attention: target tokens down, source tokens across" }));
  const head = element("tr", {}, element("td"));
  head.append(...source.map((token) => element("th", { scope: "col", title: visible(token) }, words(visible(token)))));
  table.append(element("thead", {}, head));
  const body = element("tbody");
  const rows = target.map((token, row) => {
    const line = element("tr", {}, element("th", { scope: "row", title: visible(token) }, words(visible(token))));
    const cells = source.map((_, column) => {
      const cell = element("td", { tabIndex: row || column ? -1 : 0 });
      const weight = at(row, column);
      cell.style.backgroundColor = `rgb(${Math.round(247 - 239 * weight)} ${Math.round(251 - 203 * weight)} ${Math.round(255 - 148 * weight)})`;
      cell.setAttribute("aria-label", weight.toFixed(3));
      cell.dataset.row = row;
      cell.dataset.column = column;
      return cell;
    });
    line.append(...cells);
    body.append(line);
    return cells;
  });
  table.append(body);
  const value = element("p", { className: "value", role: "status" });
  let lit = [];
  const point = (cell) => {
    lit.forEach((one) => one.classList.remove("on"));
    lit = [];
    value.textContent = "";
    if (!cell) return;
    const row = Number(cell.dataset.row), column = Number(cell.dataset.column);
    lit = [cell, body.rows[row].cells[0], head.cells[column + 1]];
    lit.forEach((one) => one.classList.add("on"));
    value.append(words(visible(target[row])), " ← ", words(visible(source[column])), ` ${at(row, column).toFixed(3)}`);
  };
  const cellOf = (event) => event.target.closest("td[data-row]");
  table.addEventListener("pointerover", (event) => point(cellOf(event)));
  table.addEventListener("pointerleave", () => point(null));
  table.addEventListener("focusin", (event) => point(cellOf(event)));
  table.addEventListener("keydown", (event) => {
    const cell = cellOf(event);
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!cell || !step) return;
    event.preventDefault();
    event.stopPropagation();
    const next = (rows[Number(cell.dataset.row) + step[0]] || [])[Number(cell.dataset.column) + step[1]];
    if (!next) return;
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  return element("div", {}, element("div", { className: "scroll" }, table), value);
}

async function start() {
  ({ index, size } = await unpacked($("index")));
  $("search").addEventListener("submit", (event) => event.preventDefault());
  $("words").addEventListener("input", search);
  $("page-back").addEventListener("click", () => { page -= 1; list(); });
  $("page-on").addEventListener("click", () => { page += 1; list(); });
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, td") || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "ArrowLeft" || event.key === "k") show(current - 1);
    if (event.key === "ArrowRight" || event.key === "j") show(current + 1);
    if (event.key === "/") { event.preventDefault(); $("words").focus(); }
  });
  const asked = Number(location.hash.slice(1));
  search();
  if (asked > 0 && asked < index.length) show(asked);
}

start();
