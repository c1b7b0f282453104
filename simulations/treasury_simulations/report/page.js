// Draws the charts from the page's own data, and moves its switches. Nothing is fetched.
"use strict";
(() => {
  const payload = JSON.parse(document.getElementById("payload").textContent);
  const chosen = { ...payload.chosen };
  const front = new Set();
  const documents = [];

  // --- columns, as report/sheet.py packs them -------------------------------------------------

  const instant = (seconds) => (seconds === null ? NaN : payload.origin_ms + 1000 * seconds);
  const number = (value) => (value === null ? NaN : value);
  // A step line holds each value until the next position, so every inner point becomes two.
  const stepAlong = (positions) =>
    positions.flatMap((at, i) => (i === 0 ? [at] : [at, at]));
  const stepUp = (values) =>
    values.flatMap((value, i) => (i === values.length - 1 ? [value] : [value, value]));
  const unpackers = {
    time: (column) => column.map(instant),
    times: (lines) => lines.map((line) => line.map(instant)),
    step_times: (lines) => lines.map((line) => stepAlong(line.map(instant))),
    step_positions: (lines) => lines.map(stepAlong),
    step_values: (lines) => lines.map((line) => stepUp(line.map(number))),
    lines: (lines) => lines.map((line) => line.map(number)),
    micro: (column) => column.map((amount) => amount / 1e6),
  };

  function unpack(column) {
    if (Array.isArray(column)) return column.map(number);
    if (column.words) return column.codes.map((code) => column.words[code]);
    const [form, content] = Object.entries(column)[0];
    return unpackers[form](content);
  }

  // --- what the switches choose ---------------------------------------------------------------

  function model(name) {
    for (const doc of documents) {
      const found = doc.get_model_by_name(name);
      if (found) return found;
    }
    return null;
  }

  function* models() {
    for (const doc of documents) {
      for (const root of doc.roots()) yield* root.references();
    }
  }

  function columnsOf(name) {
    const variants = payload.sources[name];
    const packed = variants["*"] ?? variants[chosen.strategy];
    const data = {};
    for (const [key, column] of Object.entries(packed)) data[key] = unpack(column);
    if (data.alpha && data.offer) data.alpha = strengths(data.offer, data.alpha);
    return data;
  }

  function fill(name) {
    const source = model(name);
    if (source) source.data = columnsOf(name);
  }

  // The same before a chart is built, in the library's own form: its ranges then start out right.
  function fillUnbuilt(node) {
    if (node === null || typeof node !== "object") return;
    const name = node.attributes?.name;
    if (node.name === "ColumnDataSource" && name in payload.sources) {
      node.attributes.data = { type: "map", entries: Object.entries(columnsOf(name)) };
      return;
    }
    Object.values(node).forEach(fillUnbuilt);
  }

  function strengths(offers, usual) {
    return offers.map((offer, i) => (front.size === 0 ? usual[i] : front.has(offer) ? 1 : 0.07));
  }

  function label(name) {
    const axis = model(`axis:${name}`);
    const range = model(`rows:${name}`);
    const labels = payload.rows[name][`${chosen.strategy}/${chosen.rows}`];
    if (!axis || !range || !labels) return;
    const count = Math.max(1, labels.length);
    axis.ticker.ticks = labels.map((_, row) => row).filter((row) => labels[row] !== "");
    axis.major_label_overrides = new Map(labels.map((text, row) => [row, text]));
    range.setv({
      start: count - 0.4, end: -0.6, reset_start: count - 0.4, reset_end: -0.6,
    });
  }

  function showTagged() {
    for (const item of models()) {
      for (const tag of item.tags ?? []) {
        const [name, value] = String(tag).split("=");
        if (value !== undefined && name in chosen) item.visible = chosen[name] === value;
      }
    }
  }

  function reflect() {
    for (const group of document.querySelectorAll("[data-switch]")) {
      for (const button of group.querySelectorAll("button")) {
        const on = button.dataset.value === chosen[group.dataset.switch];
        button.setAttribute("aria-pressed", String(on));
      }
    }
    for (const part of document.querySelectorAll("[data-when]")) {
      part.hidden = part.dataset.is !== chosen[part.dataset.when];
    }
    for (const chip of document.querySelectorAll("[data-pool]")) {
      chip.setAttribute("aria-pressed", String(front.has(chip.dataset.pool)));
    }
  }

  function choose(name, value) {
    chosen[name] = value;
    for (const [source, variants] of Object.entries(payload.sources)) {
      if (!("*" in variants)) fill(source);
    }
    Object.keys(payload.rows).forEach(label);
    showTagged();
    reflect();
  }

  function bringToFront(pool) {
    if (!front.delete(pool)) front.add(pool);
    for (const [name, variants] of Object.entries(payload.sources)) {
      const columns = Object.values(variants)[0];
      if (columns.alpha && columns.offer) fill(name);
    }
    reflect();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    const group = button?.closest("[data-switch]");
    if (group) choose(group.dataset.switch, button.dataset.value);
    else if (button?.dataset.pool) bringToFront(button.dataset.pool);
  });

  // --- light and dark -------------------------------------------------------------------------

  function dress() {
    const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
    for (const item of models()) {
      if ((item.tags ?? []).includes("ink")) item.glyph.text_color = { value: ink };
      // Touching a property makes the canvas read the style sheet's colours again.
      if (item.type === "Figure") item.outline_line_width = item.outline_line_width === 1 ? 2 : 1;
    }
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);

  // --- start ----------------------------------------------------------------------------------

  async function start() {
    reflect();
    for (const item of payload.items) {
      fillUnbuilt(item.doc);
      const views = await Bokeh.embed.embed_item(item, item.target_id);
      for (const view of views) documents.push(view.model.document);
    }
    Object.keys(payload.rows).forEach(label);
    showTagged();
    dress();
    document.documentElement.dataset.ready = String(payload.items.length);
  }

  start().catch((error) => {
    document.documentElement.dataset.failed = String(error);
    const line = document.createElement("p");
    line.className = "failed";
    line.textContent = `The charts could not be drawn: ${error}`;
    document.body.prepend(line);
    throw error;
  });
})();
