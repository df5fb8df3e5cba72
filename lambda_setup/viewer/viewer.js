"use strict";
// Shows results: a list of items, and one item. Every text is set as text, never as markup. Items come in
// blocks, and a block is unpacked when one of its items is shown.
//
// An item is an error, fields of any kind, or, prepared by a function's show.py, a source with panels of texts:
//   {index, source, source_tokens, panels: [{name, note, help, text, tokens, weights}], empty, map, axes}
// weights maps the panel's tokens (rows) to the source's (columns): 16-bit parts of 1, little-endian, in base64.
// Without weights, neither it nor any tokens are needed. empty stands in place of no panels; map and axes are
// captions of the maps.

const PAGE = 50;      // items that are listed at once
const CELLS = 20000;  // of a map that is drawn as a table; a larger one is a picture
const WRITTEN = 0.1;  // the least weight whose number stands in its cell
const NAMED = 3;      // tokens that are named when one is pointed at
const NUMBERS = 16;   // of a list that are shown
const RTL = ":dir(rtl)";
const $ = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Isolated, so that a text that runs from right to left, or says so, turns nothing around it.
const isolate = (text) => element("bdi", { dir: "auto", textContent: text });

// A token's text as a label: no longer than one, and what would be invisible or turn the text is named.
function label(token) {
  const shown = token.length > 60 ? `${token.slice(0, 60).replace(/[\ud800-\udbff]$/, "")}…` : token;
  return shown.replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    (one) => `[${one.codePointAt(0).toString(16).padStart(4, "0")}]`) || "∅";
}

// A token as a label, the mark of its leading space set back.
function showToken(token) {
  const made = element("bdi", { dir: "auto", className: "token" }), mark = token.length > 1 && token.startsWith("▁");
  if (mark) made.append(element("span", { className: "space", textContent: "▁" }));
  made.append(label(mark ? token.slice(1) : token));
  return made;
}

function bytes(text) {
  const binary = atob(text);
  const made = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) made[at] = binary.charCodeAt(at);
  return made;
}

async function unpack(text) {
  const stream = new Blob([bytes(text)]).stream();
  return new Response(stream.pipeThrough(new DecompressionStream("gzip"))).json();
}

let items = [];      // of every item: its label, what it is found by, and whether it failed
let folded = null;   // what they are found by, as it is compared; made by the first search
let block = null;    // by a block's number, its items
let size = 1;        // how many items a block has
let found = [];      // the numbers of the items that are listed
let current = -1;    // the place in found of the item that is shown
let listed = null;   // the page of found that the list has now
let turn = 0;        // counts what was asked for, so that what comes late is not shown
let unlit = () => {};

// What counts as the same: capitals, accents, spaces and invisible marks make no difference.
const fold = (text) =>
  text.normalize("NFKD").replace(/[\p{Mn}\p{Cf}]/gu, "").toLowerCase().replace(/\s+/gu, " ").trim();

async function load(data, asked = 0) {
  const ticket = (turn += 1);
  const blocks = new Map();
  const index = await unpack(data.index);
  if (ticket !== turn) return;
  ({ items, size } = index);
  folded = null;
  block = (number) => {
    if (!blocks.has(number)) blocks.set(number, unpack(data.block(number)));
    return blocks.get(number);
  };
  $("failures").hidden = !items.some(([, , failed]) => failed);
  $("failed").checked = false;
  $("words").value = "";
  await search(asked);
}

function search(asked = 0) {
  const wanted = fold($("words").value), failed = $("failed").checked;
  if (wanted && !folded) folded = items.map(([, text]) => fold(text));
  found = items.flatMap((item, number) =>
    ((!wanted || folded[number].includes(wanted)) && (!failed || item[2]) ? [number] : []));
  const few = found.length < items.length ? `${found.length.toLocaleString()} of ` : "";
  $("found").textContent = `${few}${items.length.toLocaleString()} item${items.length === 1 ? "" : "s"}`;
  current = -1;
  listed = null;
  list(0);
  if (found.length) return show(Math.max(0, found.indexOf(asked)));
  turn += 1;
  at(-1);
  point(null);
  $("item").replaceChildren(element("p", { textContent: items.length ? "Nothing is found." : "There are no items." }));
  return null;
}

// A page of the list: one stop for the tabulator, from which the arrow keys go on.
function list(page) {
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  listed = Math.min(Math.max(page, 0), pages - 1);
  const start = listed * PAGE, shown = found.slice(start, start + PAGE);
  $("page").textContent = shown.length
    ? `${(start + 1).toLocaleString()}–${(start + shown.length).toLocaleString()} of ${found.length.toLocaleString()}` : "none";
  $("page").parentElement.hidden = pages === 1;
  $("page-back").disabled = listed === 0;
  $("page-on").disabled = listed === pages - 1;
  $("list").replaceChildren(...shown.map((number, offset) => {
    const [name, text, failed] = items[number];
    const button = element("button", { type: "button", className: failed ? "failed" : "" },
      element("span", { className: "number", textContent: name }),
      ...text.split("\n", 2).map((line) => element("span", {}, isolate(line.slice(0, 200)))));
    button.dataset.place = start + offset;
    button.addEventListener("click", () => show(start + offset));
    return element("li", {}, button);
  }));
  mark(false);
}

function mark(focus) {
  const buttons = [...$("list").querySelectorAll("button")];
  for (const button of buttons) {
    const here = Number(button.dataset.place) === current;
    button.ariaCurrent = here ? "true" : null;
    button.tabIndex = here || (button === buttons[0] && Math.floor(current / PAGE) !== listed) ? 0 : -1;
    if (here) { // not scrollIntoView, which scrolls the whole page where the list is part of it
      const list = $("list"), end = button.offsetTop + button.offsetHeight;
      list.scrollTop = Math.max(Math.min(list.scrollTop, button.offsetTop), end - list.clientHeight);
    }
    if (here && focus) button.focus();
  }
}

function at(place) {
  $("previous").disabled = !(place - 1 in found);
  $("next").disabled = place < 0 || !(place + 1 in found);
  $("place").textContent = place < 0 ? "" : `${(place + 1).toLocaleString()} of ${found.length.toLocaleString()}`;
}

let remembering;
function remember(number) {
  clearTimeout(remembering); // browsers refuse a new address a hundred times a second
  remembering = setTimeout(() => history.replaceState(null, "", `#${number}`), 200);
}

async function show(place) {
  if (!(place in found)) return;
  const ticket = (turn += 1), inside = $("list").contains(document.activeElement);
  current = place;
  if (Math.floor(place / PAGE) !== listed) list(Math.floor(place / PAGE));
  mark(inside);
  at(place);
  const number = found[place];
  const record = (await block(Math.floor(number / size)))[number % size];
  if (ticket !== turn) return;
  remember(number);
  point(null);
  const body = record.panels ? buildPanels(record) : record.error ? failure(record) : [fields(record)];
  $("item").replaceChildren(element("h2", { textContent: `Item ${items[number][0]}` }), ...body);
  $("main").scrollTop = 0;
  if ($("main").getBoundingClientRect().top < 0) $("main").scrollIntoView();
}

const failure = (record) => [
  ...(record.source ? [element("p", { className: "source", dir: "auto", textContent: record.source })] : []),
  element("p", { className: "fault" }, element("strong", { textContent: "Failed" }), " ",
    element("code", {}, isolate(record.error.code)), " ", isolate(record.error.message)),
];

function fields(record) {
  const made = element("dl");
  for (const [name, value] of Object.entries(record)) {
    made.append(element("dt", {}, isolate(name)), element("dd", {}, showValue(value)));
  }
  return made;
}

const isFlat = (value) => value && typeof value === "object" && !Array.isArray(value)
  && Object.values(value).every((one) => one === null || typeof one !== "object");

const isLong = (value) => Array.isArray(value) && value.length > NUMBERS && value.every((one) => typeof one === "number");

function showValue(value) {
  if (isLong(value)) return isolate(`${value.length} numbers: ${value.slice(0, NUMBERS).join(" ")} …`);
  if (!Array.isArray(value) || !value.length || !value.every(isFlat)) {
    return isolate(typeof value === "string" ? value : JSON.stringify(value, null, 1));
  }
  const names = [...new Set(value.flatMap(Object.keys))];
  const row = (kind, cells) => element("tr", {}, ...cells.map((cell) =>
    element(kind, { className: typeof cell === "number" ? "figure" : "" }, isolate(String(cell ?? "")))));
  return element("div", { className: "scroll" }, element("table", { className: "records" },
    element("thead", {}, row("th", names)),
    element("tbody", {}, ...value.map((one) => row("td", names.map((name) => one[name]))))));
}

// Where each token stands in its text; null where the text does not spell them, because it was normalised.
function places(text, tokens) {
  const cut = [];
  let end = 0;
  for (const token of tokens) {
    const word = token.replaceAll("▁", " ").trim();
    const start = word ? text.indexOf(word, end) : end;
    if (start < 0 || text.slice(end, start).trim()) return null;
    end = start + word.length;
    cut.push([start, end]);
  }
  return text.slice(end).trim() ? null : cut;
}

// A text, and of each of its tokens the element that shows it; the text itself if it spells them, or a line below.
function spell(name, text, tokens) {
  const node = element("p", { className: name, dir: "auto" });
  if (!tokens) {
    node.textContent = text;
    return { parts: [node], node: null, words: [] };
  }
  const cut = places(text, tokens), parts = [node], words = [];
  const word = (content) => element("span", { className: "word", textContent: content });
  if (cut) {
    let end = 0;
    for (const [start, stop] of cut) {
      words.push(word(text.slice(start, stop)));
      node.append(text.slice(end, start), words.at(-1));
      end = stop;
    }
    node.append(text.slice(end));
    return { parts, node, words };
  }
  node.textContent = text;
  const line = element("p", { className: "tokens", dir: "auto" });
  for (const token of tokens) {
    words.push(word(label(token)));
    line.append(words.at(-1), " ");
  }
  return { parts: [node, line], node: line, words };
}

function weights(packed, rows, columns) {
  const raw = bytes(packed), view = new DataView(raw.buffer);
  if (raw.length !== 2 * rows * columns) return null;
  return (row, column) => view.getUint16(2 * (row * columns + column), true) / 65535;
}

function buildPanels(record) {
  const maps = record.panels.map((panel) => (panel.weights && record.source_tokens
    ? weights(panel.weights, panel.tokens.length, record.source_tokens.length) : null));
  const some = maps.some(Boolean);
  const source = { ...spell("source", record.source, some ? record.source_tokens : null), tokens: record.source_tokens };
  const links = record.panels.map((panel, rank) =>
    ({ ...panel, ...spell("text", panel.text, maps[rank] && panel.tokens), weight: maps[rank], cells: null,
      map: record.map, axes: record.axes }));
  const look = linking(source, links);
  if (some) walk(source, "Source", (column, said) => look(null, null, column, said));
  const parts = [...source.parts];
  if (!links.length) parts.push(element("p", { className: "none", textContent: record.empty }));
  links.forEach((link, rank) => {
    if (link.weight) walk(link, link.name, (row, said) => look(rank, row, null, said));
    parts.push(element("section", { className: "panel", ariaLabel: link.name },
      element("h3", {}, element("span", { className: "rank", textContent: rank + 1 }),
        element("span", { className: "score", title: link.help, textContent: link.note })),
      ...link.parts,
      ...(link.weight ? [drawing(source, link, rank, look)] : [])));
  });
  return parts;
}

// A text's tokens under the pointer, and by the arrow keys.
function walk({ node, words }, name, look) {
  let here = 0;
  node.tabIndex = 0;
  node.role = "group";
  node.ariaLabel = `${name}, ${words.length} tokens; the arrow keys go from one to the next`;
  const number = (event) => words.indexOf(event.target);
  node.addEventListener("pointerover", (event) => (number(event) < 0 ? point(null) : look(number(event), false)));
  node.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") point(null); });
  node.addEventListener("focus", () => { if (node.matches(":focus-visible")) look(here, true); });
  node.addEventListener("blur", () => point(null));
  node.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    here = Math.min(Math.max(here + (node.matches(RTL) ? -way : way), 0), words.length - 1);
    look(here, true);
  });
}

// What is lit, and what is said of it below.
function point(said, ...nodes) {
  unlit();
  unlit = () => {};
  $("linked").ariaLive = said ? "polite" : "off";
  $("linked").replaceChildren(...nodes);
}

const pair = (token, weight) => [element("span", { className: "pair" }, showToken(token), ` ${weight.toFixed(3)}`), " "];

// Returns what lights up a token, or a token of a panel (its rank, row) and one of the source (column).
function linking(source, links) {
  const strongest = (tokens, weight) => tokens.map((token, number) => [weight(number), token])
    .sort(([one], [other]) => other - one).slice(0, NAMED).filter(([value], place) => !place || value >= 0.05)
    .flatMap(([value, token]) => pair(token, value));
  return (rank, row, column, said) => {
    unlit();
    const lit = [];
    const light = (node, weight) => {
      if (!node) return;
      lit.push(node);
      if (weight === undefined) node.classList.add("on");
      else {
        node.classList.add(weight >= WRITTEN ? "strong" : "lit");
        node.style.setProperty("--weight", weight);
      }
    };
    const nodes = [];
    const each = rank === null ? links.filter((link) => link.weight) : [links[rank]];
    if (column !== null) light(source.words[column]);
    if (row !== null) light(each[0].words[row]);
    for (const link of each) {
      link.cells?.point(row, column, light);
      if (row === null) link.words.forEach((word, number) => light(word, link.weight(number, column)));
      if (column === null) source.words.forEach((word, number) => light(word, link.weight(row, number)));
    }
    if (row !== null) {
      nodes.push(showToken(each[0].tokens[row]), " ← ", ...(column === null
        ? strongest(source.tokens, (number) => each[0].weight(row, number))
        : pair(source.tokens[column], each[0].weight(row, column))));
    } else {
      nodes.push(showToken(source.tokens[column]), " → ",
        ...strongest(each[0].tokens, (number) => each[0].weight(number, column)));
    }
    unlit = () => {};
    point(said, ...nodes);
    unlit = () => lit.forEach((node) => node.classList.remove("on", "lit", "strong"));
  };
}

// A map, made when it is opened: the first one is, the others when they are asked for, here or at another item.
const opened = [true];
function drawing(source, link, rank, look) {
  const rows = link.tokens.length, columns = source.tokens.length;
  const made = element("details", { open: Boolean(opened[rank]) },
    element("summary", {}, `${link.map} map `, element("span", { className: "number", textContent: `${rows} × ${columns}` })));
  made.firstChild.addEventListener("click", () => { opened[rank] = !made.open; });
  const make = () => {
    if (!made.open || link.cells) return;
    link.cells = rows * columns > CELLS ? picture(source, link, rank, look) : table(source, link, rank, look);
    made.append(legend(link.axes), link.cells.node);
  };
  made.addEventListener("toggle", make);
  make();
  return made;
}

const legend = (axes) => element("p", { className: "legend" }, axes,
  element("span", { className: "range" }, "0 ", element("span", { className: "scale", role: "img", ariaLabel: "from light to dark" }), " 1"));

// A table can be read aloud, copied and printed. One hue from light to dark is told apart by everybody, and the
// weights that matter stand there in hundredths, black or white, whichever differs from its cell by 4.5 to 1.
function table(source, link, rank, look) {
  const rtl = source.node.matches(RTL);
  const name = (scope, token) => element("th", { scope, title: label(token) }, element("span", {}, showToken(token)));
  const names = source.tokens.map((token) => name("col", token));
  const lines = link.tokens.map((token) => name("row", token));
  const cells = link.tokens.map((_, row) => source.tokens.map((__, column) => {
    const weight = link.weight(row, column);
    const cell = element("td", { tabIndex: row || column ? -1 : 0, ariaLabel: weight.toFixed(3) });
    if (weight >= WRITTEN) cell.textContent = weight >= 0.995 ? "1" : weight.toFixed(2).slice(1);
    cell.className = weight > 0.645 ? "high" : weight > 0.53 ? "middle" : "low";
    cell.style.setProperty("--weight", weight);
    cell.dataset.row = row;
    cell.dataset.column = column;
    return cell;
  }));
  const drawn = element("table", { className: "map", dir: rtl ? "rtl" : "ltr", role: "grid",
    ariaLabel: `${link.map} of ${link.name.toLowerCase()}; the arrow keys go from cell to cell` },
    element("thead", {}, element("tr", {}, element("td"), ...names)),
    element("tbody", {}, ...cells.map((line, row) => element("tr", {}, lines[row], ...line))));
  const over = (event, said) => {
    const cell = event.target.closest("td[data-row]"), header = event.target.closest("th");
    const row = lines.indexOf(header), column = names.indexOf(header);
    if (cell) look(rank, Number(cell.dataset.row), Number(cell.dataset.column), said);
    else if (row >= 0) look(rank, row, null, said);
    else if (column >= 0) look(null, null, column, said);
    else point(null);
  };
  drawn.addEventListener("pointerover", (event) => over(event, false));
  drawn.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") point(null); });
  drawn.addEventListener("focusin", (event) => over(event, false));
  drawn.addEventListener("focusout", () => point(null));
  drawn.addEventListener("keydown", (event) => {
    const side = rtl ? -1 : 1;
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -side], ArrowRight: [0, side] }[event.key];
    const cell = event.target.closest("td[data-row]");
    if (!step || !cell || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const next = cells[Number(cell.dataset.row) + step[0]]?.[Number(cell.dataset.column) + step[1]];
    if (!next) return;
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  return {
    node: element("div", { className: "scroll" }, drawn),
    point(row, column, light) {
      light(lines[row]);
      light(names[column]);
      light(cells[row]?.[column]);
    },
  };
}

// A pixel a weight, as large as it may be: thousands of tokens are too many for a table.
function picture(source, link, rank, look) {
  const rows = link.tokens.length, columns = source.tokens.length;
  const node = element("canvas", { className: "picture", width: columns, height: rows, role: "img",
    ariaLabel: `${link.map} of ${link.name.toLowerCase()}, ${rows} by ${columns} tokens; the texts name each token's strongest` });
  const drawn = node.getContext("2d"), image = drawn.createImageData(columns, rows);
  for (let cell = 0; cell < rows * columns; cell += 1) {
    image.data.set([8, 48, 107, 255 * link.weight(Math.floor(cell / columns), cell % columns)], 4 * cell);
  }
  drawn.putImageData(image, 0, 0);
  const part = (offset, whole, count) => Math.min(Math.max(Math.floor((offset / whole) * count), 0), count - 1);
  node.addEventListener("pointermove", (event) => look(rank, part(event.offsetY, node.clientHeight, rows),
    part(event.offsetX, node.clientWidth, columns), false));
  node.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") point(null); });
  return { node: element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: `${link.map} map` }, node), point() {} };
}

$("search").addEventListener("submit", (event) => event.preventDefault());
$("words").addEventListener("input", () => search());
$("failed").addEventListener("change", () => search());
$("page-back").addEventListener("click", () => list(listed - 1));
$("page-on").addEventListener("click", () => list(listed + 1));
$("previous").addEventListener("click", () => show(current - 1));
$("next").addEventListener("click", () => show(current + 1));
$("list").addEventListener("keydown", (event) => {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  show(current + step);
});
document.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  if (!event.target.closest("input, textarea, select")) show(current + step);
});
addEventListener("beforeprint", () => {
  for (const one of $("item").querySelectorAll("details")) {
    one.open = true;
    one.dispatchEvent(new Event("toggle")); // the browser's own comes after the print
  }
});

if ($("index")) {
  load({ index: $("index").textContent, block: (number) => $(`block-${number}`).textContent }, Number(location.hash.slice(1)) || 0)
    .catch((error) => $("item").replaceChildren(element("p", { className: "fault", textContent:
      `This page could not be unpacked: ${error.message}. It needs a browser of 2024 or later.` })));
}
