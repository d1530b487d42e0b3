"use strict";
// Draws the charts, sets what is chosen in all of them, sorts the tables, and moves the explorer from context to context.
// All data stand in the page, as JSON in elements of type application/json.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const CHARTS = read("chart-specs");
const EXPLORER = read("explorer-data");
const DARK = read("dark-config");
const views = new Map();

// What is chosen. Nothing ("", []) shows everything. The names are the charts' parameters.
const state = { shown_model: "", shown_lens: "", shown_documents: [], shown_positions: [] };

const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 44rem)");

// --- Drawing ---------------------------------------------------------------------------------------------------------

// A table in the page is its columns' names and a list of rows without them.
function rowsOf(table) {
  return table.rows.map((row) => Object.fromEntries(table.columns.map((name, place) => [name, row[place]])));
}

function merge(below, above) {
  const merged = { ...below };
  for (const [key, value] of Object.entries(above)) {
    const both = value && typeof value === "object" && below && typeof below[key] === "object";
    merged[key] = both ? merge(below[key], value) : value;
  }
  return merged;
}

// On a narrow screen what stands side by side is put under one another, and panels become as wide as there is room.
function fitted(spec, room, datasets) {
  const copy = { ...spec };
  if (copy.hconcat) {
    copy.vconcat = copy.hconcat.map((part) => fitted(part, room, datasets));
    delete copy.hconcat;
  } else if (copy.vconcat) {
    copy.vconcat = copy.vconcat.map((part) => fitted(part, room, datasets));
  }
  if (copy.spec) {
    let panels = 1;
    if (copy.columns) copy.columns = 1;
    if (copy.facet && copy.facet.column) {
      const field = copy.facet.column.field;
      panels = new Set((datasets[copy.data && copy.data.name] || []).map((row) => row[field])).size || 1;
    }
    copy.spec = fitted(copy.spec, (room - 20) / panels - 12, datasets);
  }
  if (copy.layer) copy.layer = copy.layer.map((part) => fitted(part, room, datasets));
  const y = copy.encoding && copy.encoding.y;
  if (y && y.axis === null) copy.encoding = { ...copy.encoding, y: { ...y, axis: {} } };  // its neighbour had the labels
  if (typeof copy.width === "number") copy.width = Math.max(70, Math.min(copy.width, room - 75));
  return copy;
}

// One drawing after the other in a place: a later one must not be overtaken by an earlier one.
const drawing = new Map();
function draw(id, chart) {
  const next = (drawing.get(id) || Promise.resolve()).then(() => drawNow(id, chart));
  drawing.set(id, next);
  return next;
}

async function drawNow(id, chart) {
  const element = document.getElementById(id);
  let spec = { ...chart, datasets: Object.fromEntries(Object.entries(chart.datasets).map(([name, table]) => [name, rowsOf(table)])) };
  if (narrow.matches) {
    spec = fitted(spec, element.clientWidth, spec.datasets);
    spec.config = merge(spec.config, { legend: { columns: 2 } });
  }
  if (dark.matches) spec.config = merge(spec.config, DARK);
  if (views.has(id)) views.get(id).finalize();
  const { view } = await vegaEmbed(element, spec, {
    actions: false, renderer: "svg", tooltip: { theme: dark.matches ? "dark" : "light" },
  });
  views.set(id, view);
  const brush = (spec.params || []).some((param) => param.name === "brush");
  if (brush) view.addSignalListener("brush", (_, chosen) => choose({ shown_positions: chosen.relative_position || [] }));
  await apply(view);
  element.dataset.drawn = "yes";
}

async function drawAll() {
  for (const [id, chart] of Object.entries(CHARTS)) await draw(id, chart);
  await showContext();
  document.body.dataset.drawn = "yes";
}

// --- What is chosen --------------------------------------------------------------------------------------------------

async function apply(view) {
  const known = view.getState({ data: () => false, signals: () => true }).signals;
  for (const [name, value] of Object.entries(state)) if (name in known) view.signal(name, value);
  await view.resize().runAsync();  // fewer panels take less room
  // Vega gives the brush's rectangles the role of a picture, but no name to read out.
  for (const part of view.container().querySelectorAll("[role='graphics-symbol']:not([aria-label])")) {
    part.setAttribute("aria-hidden", "true");
  }
}

function chosenHere(row) {
  const { model, lens, documents } = row.dataset;
  return (!state.shown_model || !model || model === state.shown_model)
    && (!state.shown_lens || !lens || lens === state.shown_lens)
    && (!state.shown_documents.length || !documents || state.shown_documents.includes(Number(documents)));
}

let waiting = 0;
function choose(change) {
  Object.assign(state, change);
  const [from, to] = state.shown_positions.length ? state.shown_positions : [0, 1];
  document.getElementById("from").value = from.toFixed(2);
  document.getElementById("to").value = to.toFixed(2);
  // A brush moves many times a second: the other charts follow once a frame.
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(async () => {
    for (const row of document.querySelectorAll("[data-model], [data-lens], [data-documents]")) row.hidden = !chosenHere(row);
    for (const view of views.values()) await apply(view);
    listContexts();
    await showContext();
  });
}

const form = document.getElementById("filters");
function chooseFromForm() {
  const values = new FormData(form);
  const all = form.querySelectorAll("[name=documents]").length;
  const documents = values.getAll("documents").map(Number);
  const from = Number(values.get("from")), to = Number(values.get("to"));
  choose({
    shown_model: values.get("model") || "",
    shown_lens: values.get("lens") || "",
    shown_documents: documents.length === all ? [] : documents,
    shown_positions: from <= 0 && to >= 1 ? [] : [Math.min(from, to), Math.max(from, to)],
  });
}
form.addEventListener("change", chooseFromForm);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(async () => {
  chooseFromForm();
  await draw("refinement_curve", CHARTS.refinement_curve);  // its brush goes with it
}));

// --- Sorting ---------------------------------------------------------------------------------------------------------

for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const header = button.closest("th"), table = button.closest("table"), body = table.tBodies[0];
    const place = header.cellIndex, descending = header.getAttribute("aria-sort") !== "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const key = (row) => row.cells[place].dataset.value ?? "";
    const compare = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === "");  // what has no value stands last either way
      const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
      return descending ? -order : order;
    };
    body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b))));
  });
}

// --- The explorer ----------------------------------------------------------------------------------------------------

const pick = document.getElementById("context");
const lensPick = document.getElementById("explorer-lens");
const colourPick = document.getElementById("explorer-colour");

function contextsShown() {
  const [from, to] = state.shown_positions.length ? state.shown_positions : [-Infinity, Infinity];
  return EXPLORER.contexts.map((context, place) => [context, place]).filter(([context]) =>
    (!state.shown_model || context.model === state.shown_model)
    && (!state.shown_documents.length || state.shown_documents.includes(context.n_documents))
    && (context.relative_position === null || (context.relative_position >= from && context.relative_position <= to)));
}

function listContexts() {
  if (!pick) return;
  const before = pick.value;
  const groups = new Map();
  const models = new Set(EXPLORER.contexts.map((context) => context.model)).size;
  for (const [context, place] of contextsShown()) {
    const name = `${models > 1 ? context.model + ", " : ""}${context.n_documents} documents, gold one at ${context.gold_index}`;
    if (!groups.has(name)) {
      const group = document.createElement("optgroup");
      group.label = name;
      groups.set(name, group);
    }
    groups.get(name).append(new Option(`${context.kind}: ${context.question}`, place));
  }
  pick.replaceChildren(...groups.values());
  if ([...pick.options].some((option) => option.value === before)) pick.value = before;
}

function cellRows(context, lens) {
  const grid = context.lenses[lens];
  const layers = grid.top1.length / context.tokens.length;
  return grid.top1.map((word, place) => {
    const token = Math.floor(place / layers);
    return {
      answer_index: token, token: `${token}: ${context.tokens[token]}`, layer: place % layers, top1: EXPLORER.words[word],
      target_probability: grid.target_probability[place], target_rank: grid.target_rank[place],
      entropy: grid.entropy[place], kl_to_final: grid.kl_to_final[place],
      first_correct_layer: grid.first_correct_layer[token], settled_layer: grid.settled_layer[token],
    };
  });
}

async function showContext() {
  if (!pick) return;
  const context = EXPLORER.contexts[Number(pick.value)];
  const empty = pick.options.length === 0;
  document.getElementById("explorer-shown").hidden = empty;
  document.getElementById("explorer-none").hidden = !empty;
  if (empty) return;
  if (state.shown_lens && state.shown_lens in context.lenses) lensPick.value = state.shown_lens;
  const lens = lensPick.value in context.lenses ? lensPick.value : Object.keys(context.lenses)[0];
  const text = (id, words) => { document.getElementById(id).textContent = words; };
  text("explorer-question", context.question);
  text("explorer-answer", context.answer.trim());
  text("explorer-gold", `${context.gold_title}, document ${context.gold_index + 1} of ${context.n_documents} `);
  text("explorer-kind", EXPLORER.kinds[context.kind]);
  text("explorer-id", context.context_id);
  const places = document.createElement("span");
  places.className = "places";
  places.setAttribute("aria-hidden", "true");
  for (let place = 0; place < context.n_documents; place++) {
    const box = document.createElement("i");
    if (place === context.gold_index) box.className = "gold";
    places.append(box);
  }
  document.getElementById("explorer-gold").append(places);
  document.getElementById("previous").disabled = pick.selectedIndex <= 0;
  document.getElementById("next").disabled = pick.selectedIndex >= pick.options.length - 1;
  const spec = EXPLORER.specs[colourPick.value];
  const rows = cellRows(context, lens);
  const columns = Object.keys(rows[0]);
  const table = { columns, rows: rows.map((row) => columns.map((name) => row[name])) };
  await draw("lens_grid", { ...spec, datasets: { [spec.data.name]: table } });
}

function step(by) {
  const next = pick.selectedIndex + by;
  if (next < 0 || next >= pick.options.length) return;
  pick.selectedIndex = next;
  showContext();
}

if (pick) {
  for (const element of [pick, lensPick, colourPick]) element.addEventListener("change", showContext);
  document.getElementById("previous").addEventListener("click", () => step(-1));
  document.getElementById("next").addEventListener("click", () => step(1));
  document.getElementById("explorer").addEventListener("keydown", (event) => {
    if (event.target.matches("select, input")) return;  // there the arrows have a meaning of their own
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      event.preventDefault();
      step(event.key === "ArrowLeft" ? -1 : 1);
    }
  });
  listContexts();
}

chooseFromForm();
for (const change of [dark, narrow]) change.addEventListener("change", drawAll);
drawAll();
