"use strict";
// Draws the charts, applies the filters to all of them, sorts the tables, and moves the explorer from context to context.
// All data are in the page, as JSON in elements of type application/json.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const CHARTS = read("chart-specs");
const EXPLORER = read("explorer-data");
const DARK = read("dark-config");
const views = new Map();

// What the filters show; "" and [] show everything. The names are the charts' parameters.
const state = { shown_model: "", shown_lens: "", shown_documents: [], shown_positions: [] };

const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 44rem)");

// --- Drawing ---------------------------------------------------------------------------------------------------------

// Unpacks a table as lenscore/report/page/inline_data.py packs it: column names, texts by column, rows of values.
function rowsOf({ columns, texts = {}, rows }) {
  const read = columns.map((name) => (name in texts ? (value) => texts[name][value] : (value) => value));
  return rows.map((row) => Object.fromEntries(columns.map((name, place) => [name, read[place](row[place])])));
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function merge(below, above) {
  const merged = { ...below };
  for (const [key, value] of Object.entries(above)) {
    merged[key] = isObject(value) && isObject(merged[key]) ? merge(merged[key], value) : value;
  }
  return merged;
}

// On a narrow screen, charts that are side by side go below one another, and panels become as wide as there is room.
function fitted(spec, room) {
  const copy = { ...spec };
  for (const parts of ["hconcat", "vconcat", "layer"]) {
    if (copy[parts]) copy[parts] = copy[parts].map((part) => fitted(part, room));
  }
  if (copy.hconcat) {
    copy.vconcat = copy.hconcat;
    delete copy.hconcat;
  }
  if (copy.spec) copy.spec = fitted(copy.spec, room - 30);
  if (copy.columns) copy.columns = 1;
  const y = copy.encoding && copy.encoding.y;
  if (y && y.axis === null) copy.encoding = { ...copy.encoding, y: { ...y, axis: {} } };  // its neighbour had the labels
  if (typeof copy.width === "number") copy.width = Math.max(70, Math.min(copy.width, room - 75));
  return copy;
}

// One job at a time for each chart: an earlier drawing must not finish after a later one and replace it.
const queues = new Map();
function queue(id, job) {
  const next = (queues.get(id) || Promise.resolve()).then(job).catch((error) => {
    console.error(id, error);
    document.getElementById(id).textContent = `This chart could not be drawn: ${error.message}`;
  });
  queues.set(id, next);
  return next;
}
const draw = (id, chart) => queue(id, () => drawNow(id, chart));

async function drawNow(id, chart) {
  const element = document.getElementById(id);
  const datasets = Object.fromEntries(Object.entries(chart.datasets).map(([name, table]) => [name, rowsOf(table)]));
  let spec = { ...chart, datasets };
  if (narrow.matches) {
    spec = fitted(spec, element.clientWidth);
    spec.config = merge(spec.config, { legend: { columns: 2 } });
  }
  if (dark.matches) spec.config = merge(spec.config, DARK);
  if (views.has(id)) views.get(id).finalize();
  views.delete(id);
  const { view } = await vegaEmbed(element, spec, {
    actions: false, renderer: "svg", tooltip: { theme: dark.matches ? "dark" : "light" },
  });
  views.set(id, view);
  for (const { name } of spec.params || []) {
    if (name === "brush") view.addSignalListener(name, (_, chosen) => choosePositions(chosen.relative_position || []));
    if (name === "picked_documents") {
      view.addSignalListener(name, (_, chosen) => choose({ shown_documents: (chosen.documents || []).map(parseFloat) }));
    }
  }
  await apply(view);
  element.dataset.drawn = "yes";
}

async function drawAll() {
  hideRows();
  for (const [id, chart] of Object.entries(CHARTS)) await draw(id, chart);
  await showContext(true);
  document.body.dataset.drawn = "yes";
}

// A click on a panel's title shows its model and lens only, in all charts, where there are several; a second click shows all.
const CURVES = new Map();
for (const chart of Object.values(CHARTS)) {
  for (const table of Object.values(chart.datasets)) {
    if (!table.columns.includes("curve")) continue;
    for (const { curve, model, lens } of rowsOf(table)) {
      if (model && (lens || !CURVES.has(curve))) {
        CURVES.set(curve, lens ? { shown_model: model, shown_lens: lens } : { shown_model: model });
      }
    }
  }
}

document.addEventListener("click", ({ target }) => {
  const title = target.closest(".chart .role-title-text");
  if (!title) return;
  const lines = [...title.querySelectorAll("text, tspan")].map((line) => line.textContent);
  const name = lines.find((words) => CURVES.has(words));
  if (!name) return;
  const several = (key) => new Set([...CURVES.values()].map((curve) => curve[key])).size > 1;
  const wanted = Object.fromEntries(Object.entries(CURVES.get(name)).filter(([key]) => several(key)));
  if (!Object.keys(wanted).length) return;
  const chosen = Object.entries(wanted).every(([key, value]) => state[key] === value);
  choose(chosen ? { shown_model: "", shown_lens: "" } : wanted);
});

// --- Filters ---------------------------------------------------------------------------------------------------------

async function apply(view) {
  const known = view.getState({ data: () => false, signals: () => true }).signals;
  for (const [name, value] of Object.entries(state)) if (name in known) view.signal(name, value);
  await view.resize().runAsync();  // fewer panels take less room
  // Vega gives the brush's rectangles the role of a picture, but no name to read out.
  for (const part of view.container().querySelectorAll("[role='graphics-symbol']:not([aria-label])")) {
    part.setAttribute("aria-hidden", "true");
  }
}

function hideRows() {
  for (const row of document.querySelectorAll("[data-model], [data-lens], [data-documents]")) row.hidden = !chosenHere(row);
}

function chosenHere(row) {
  const { model, lens, documents } = row.dataset;
  return (!state.shown_model || !model || model === state.shown_model)
    && (!state.shown_lens || !lens || lens === state.shown_lens)
    && (!state.shown_documents.length || !documents || state.shown_documents.includes(Number(documents)));
}

const form = document.getElementById("filters");
form.reset();  // a browser may keep the choices of an earlier visit
const boxes = [...form.querySelectorAll("[name=documents]")];
const firstLens = form.elements.lens ? form.elements.lens.value : "";
state.shown_lens = firstLens;
const positions = Object.values(CHARTS.refinement_curve.datasets).flatMap((table) => {
  const place = table.columns.indexOf("relative_position");
  return place < 0 ? [] : table.rows.map((row) => row[place]);
});

function choose(change) {
  Object.assign(state, change);
  for (const box of boxes) {
    box.checked = !state.shown_documents.length || state.shown_documents.includes(Number(box.value));
  }
  const [from, to] = state.shown_positions.length ? state.shown_positions : [0, 1];
  for (const name of ["model", "lens"]) if (form.elements[name]) form.elements[name].value = state[`shown_${name}`];
  form.elements.from.value = from.toFixed(2);
  form.elements.to.value = to.toFixed(2);
  if (change.shown_lens && lensPick) lensPick.value = change.shown_lens;
  follow();
}

function choosePositions(range) {
  const [from, to] = range.length ? [Math.min(...range), Math.max(...range)] : [0, 1];
  const everything = from <= 0 && to >= 1;
  const none = !everything && !positions.some((position) => position >= from && position <= to);
  document.getElementById("filter-note").textContent = none
    ? `No position lies between ${from.toFixed(2)} and ${to.toFixed(2)}: all positions are shown.` : "";
  choose({ shown_positions: everything || none ? [] : [from, to] });
}

// A brush changes the state many times a second: the page draws as fast as it can, and always draws the last state.
let behind = false, following = false;
async function follow() {
  behind = true;
  if (following) return;
  following = true;
  while (behind) {
    behind = false;
    await new Promise(requestAnimationFrame);
    hideRows();
    for (const id of views.keys()) await queue(id, () => views.has(id) && apply(views.get(id)));
    listContexts();
    await showContext();
  }
  following = false;
}

form.addEventListener("change", ({ target }) => {
  if (target.name === "model" || target.name === "lens") choose({ [`shown_${target.name}`]: target.value });
  if (target.name === "documents") {
    if (!boxes.some((box) => box.checked)) target.checked = true;  // something is always shown
    const checked = boxes.filter((box) => box.checked).map((box) => Number(box.value));
    choose({ shown_documents: checked.length === boxes.length ? [] : checked });
  }
  if (target.name === "from" || target.name === "to") {
    const { from, to } = form.elements;
    choosePositions([from.value === "" ? 0 : Number(from.value), to.value === "" ? 1 : Number(to.value)]);
    draw("refinement_curve", CHARTS.refinement_curve);  // drawn anew to remove a brush over other positions
  }
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => {
  document.getElementById("filter-note").textContent = "";
  choose({ shown_model: "", shown_lens: firstLens, shown_documents: [], shown_positions: [] });
  draw("refinement_curve", CHARTS.refinement_curve);
});

// --- Sorting ---------------------------------------------------------------------------------------------------------

for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const header = button.closest("th"), table = button.closest("table"), body = table.tBodies[0];
    const place = header.cellIndex, descending = header.getAttribute("aria-sort") !== "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const key = (row) => row.cells[place].dataset.value ?? "";
    const compare = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === "");  // rows without a value are last in either order
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
const several = (name) => new Set(EXPLORER.contexts.map((context) => context[name])).size > 1;

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
  for (const [context, place] of contextsShown()) {
    const names = ["model", "context_set"].filter(several).map((name) => context[name]);
    const length = `${context.n_documents} document${context.n_documents === 1 ? "" : "s"}`;
    const label = [...names, length, `gold index ${context.gold_index}`].join(", ");
    if (!groups.has(label)) groups.set(label, Object.assign(document.createElement("optgroup"), { label }));
    groups.get(label).append(new Option(`${context.kind}: ${context.question}`, place));
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

let contextShown = "";
async function showContext(anew = false) {
  if (!pick) return;
  const empty = pick.options.length === 0;
  document.getElementById("explorer-shown").hidden = empty;
  document.getElementById("explorer-none").hidden = !empty;
  if (empty) return;
  const context = EXPLORER.contexts[Number(pick.value)];
  const lens = lensPick.value in context.lenses ? lensPick.value : Object.keys(context.lenses)[0];
  const wanted = [pick.value, lens, colourPick.value].join("/");
  if (wanted === contextShown && !anew) return;
  contextShown = wanted;
  describe(context);
  const rows = cellRows(context, lens);
  const columns = Object.keys(rows[0]);
  const table = { columns, rows: rows.map((row) => columns.map((name) => row[name])) };
  const spec = EXPLORER.specs[colourPick.value];
  await draw("lens_grid", { ...spec, datasets: { [spec.data.name]: table } });
}

function describe(context) {
  const { gold_index: index, n_documents: count } = context;
  const text = (id, words) => { document.getElementById(id).textContent = words; };
  text("explorer-question", context.question);
  text("explorer-answer", context.answer.trim());
  text("explorer-gold", `${context.gold_title}, at gold index ${index}: document ${index + 1} of ${count} `);
  text("explorer-kind", EXPLORER.kinds[context.kind]);
  text("explorer-id", context.context_id);
  const places = Object.assign(document.createElement("span"), { className: "places" });
  places.setAttribute("aria-hidden", "true");
  for (let place = 0; place < count; place++) {
    places.append(Object.assign(document.createElement("i"), { className: place === index ? "gold" : "" }));
  }
  document.getElementById("explorer-gold").append(places);
  document.getElementById("previous").setAttribute("aria-disabled", pick.selectedIndex <= 0);
  document.getElementById("next").setAttribute("aria-disabled", pick.selectedIndex >= pick.options.length - 1);
}

function step(by) {
  const next = pick.selectedIndex + by;
  if (next < 0 || next >= pick.options.length) return;
  pick.selectedIndex = next;
  showContext();
}

if (pick) {
  for (const element of [pick, lensPick, colourPick]) element.addEventListener("change", () => showContext());
  document.getElementById("previous").addEventListener("click", () => step(-1));
  document.getElementById("next").addEventListener("click", () => step(1));
  document.getElementById("explorer").addEventListener("keydown", (event) => {
    const grid = document.getElementById("lens_grid");
    // In a list, and in a grid that scrolls sideways, the arrow keys already do something else.
    if (event.target.matches("select") || (event.target === grid && grid.scrollWidth > grid.clientWidth)) return;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      event.preventDefault();
      step(event.key === "ArrowLeft" ? -1 : 1);
    }
  });
  listContexts();
}

for (const change of [dark, narrow]) change.addEventListener("change", drawAll);
drawAll();
