"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const MOST_CROPS = 24;
  const MOST_NAMED = 5; // objects of a window, in its caption
  const state = {
    pinned: data.objects.length ? (data.order ? data.order[0] : 0) : null,
    hovered: null,
    weight: 0,
    level: "all",
  };

  // ---- elements: all text goes in as text, never as HTML

  function put(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== null && value !== undefined) node.setAttribute(name, String(value));
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  }
  const html = (tag, attributes, ...children) => put(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => put(document.createElementNS(SVG, tag), attributes, children);
  const number = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
  const short = (value) =>
    value === null || value === undefined ? "–" : Math.abs(value) >= 999.5 ? value.toFixed(0) : Math.abs(value) < 1e-4 && value ? value.toExponential(0) : String(Number(value.toPrecision(3)));
  const side = (value) => Math.round(value);
  const sizeOf = (box) => `${side(box[2] - box[0])} × ${side(box[3] - box[1])}`;
  const shownObject = () => (state.hovered === null ? state.pinned : state.hovered);

  // ---- colours of weights, on one scale for all views

  const channels = (color) => [1, 3, 5].map((place) => parseInt(color.slice(place, place + 2), 16));

  function colorOf(weight, value) {
    const position = Math.min(Math.max(value / weight.top, 0), 1);
    const strength = Math.min(weight.is_share ? Math.abs(value - 1) : position, 1);
    const place = position * (weight.colors.length - 1);
    const low = Math.min(Math.floor(place), weight.colors.length - 2);
    const [from, to] = [channels(weight.colors[low]), channels(weight.colors[low + 1])];
    const mixed = from.map((part, index) => Math.round(part + (to[index] - part) * (place - low)));
    return `rgba(${mixed.join(",")},${(strength ** weight.opacity).toFixed(3)})`;
  }

  function drawMap(canvas, view) {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    const weight = data.weights[state.weight];
    const levels = view.maps.filter((map) => state.level === "all" || String(map.stride) === state.level);
    for (const map of [...levels].reverse()) {
      for (const [cell, value] of map[weight.name]) {
        context.fillStyle = colorOf(weight, value);
        const [row, column] = [Math.floor(cell / map.columns), cell % map.columns];
        context.fillRect(column * map.stride, row * map.stride, map.stride, map.stride);
      }
    }
  }

  // ---- marks on the photograph

  const rectangle = (box, attributes) =>
    svg("rect", {
      x: box[0],
      y: box[1],
      width: Math.max(box[2] - box[0], 0),
      height: Math.max(box[3] - box[1], 0),
      ...attributes,
    });
  const middle = (box) => [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);

  const meet = (one, other) => one[0] < other[2] && other[0] < one[2] && one[1] < other[3] && other[1] < one[3];

  function outlines(unit, touch, place) {
    const group = svg("g", {});
    for (const box of data.ignored) group.append(rectangle(box, { class: "ignored" }));
    const order = data.objects.map((_, index) => index).filter((index) => !place || meet(data.objects[index].box, place));
    order.sort((one, other) => area(data.objects[other].box) - area(data.objects[one].box));
    for (const index of order) {
      const { box, color } = data.objects[index];
      const text = String(index);
      const [width, height] = [unit * (text.length * 7 + 4), unit * 12];
      const top = box[1] > height ? box[1] - height : box[1];
      const item = svg(
        "g",
        { class: box[2] - box[0] < width ? "object tight" : "object", "data-object": index },
        rectangle(box, { stroke: color }),
        svg("rect", { class: "plate", x: box[0], y: top, width, height, style: `fill:${color}` }),
        svg("text", { x: box[0] + unit * 2, y: top + unit * 9.5, "font-size": unit * 10.5 }, text),
      );
      if (touch === "hover") {
        item.addEventListener("pointerenter", () => hover(index));
        item.addEventListener("pointerleave", () => hover(null));
      }
      if (touch) item.addEventListener("click", () => pin(index));
      group.append(item);
    }
    return group;
  }

  function sampleMarks(view, index, unit) {
    const group = svg("g", { "pointer-events": "none" });
    const object = view.objects[index];
    const heaviest = Math.max(...object.samples.map((sample) => sample.positive ?? sample.weight ?? 0), 1e-12);
    [...object.samples.entries()].reverse().forEach(([place, sample]) => {
      const share = Math.sqrt(Math.max(sample.positive ?? sample.weight ?? 0, 0) / heaviest);
      if (object.noise) return;
      group.append(
        rectangle(sample.predicted, {
          class: "predicted",
          "data-mark": `sample-${place}`,
          style: `opacity:${data.kind === "points" ? 0.12 + 0.2 * share : 0.2 + 0.7 * share}`,
        }),
      );
      if (data.kind === "points") {
        const fill = sample.positive > 0 ? colorOf(data.weights[0], sample.positive) : "none";
        group.append(
          svg("circle", {
            class: sample.only ? "sample only" : "sample",
            "data-mark": `sample-${place}`,
            cx: sample.point[0],
            cy: sample.point[1],
            r: unit * (2.2 + 3.5 * share),
            style: `fill:${fill}`,
          }),
        );
      }
    });
    if (object.boxes) group.append(wayMarks(object, unit));
    for (const [place, made] of (object.noise || []).entries()) {
      const color = made.positive ? "#69db7c" : "#ff8a80";
      const [mark, faint] = [`noise-${place}`, made.group ? 0.12 : 1];
      group.append(rectangle(made.start, { class: "start", stroke: color, "data-mark": mark, style: `opacity:${faint}` }));
      group.append(rectangle(made.predicted, { class: "end", stroke: color, "data-mark": mark }));
    }
    return group;
  }

  function wayMarks(object, unit) {
    const group = svg("g", {});
    const colors = data.layer_colors;
    const points = object.boxes.map(middle);
    object.boxes.forEach((box, layer) => {
      group.append(rectangle(box, { stroke: colors[layer], "data-mark": `layer-${layer}` }));
    });
    if (object.start) {
      const [x, y] = object.start;
      group.append(svg("circle", { cx: x, cy: y, r: unit * 5, stroke: colors[0] }));
      group.append(svg("line", { x1: x, y1: y, x2: points[0][0], y2: points[0][1], stroke: colors[0], "stroke-width": 2 }));
    }
    points.forEach(([x, y], layer) => {
      if (layer) {
        const [from, to] = [points[layer - 1], points[layer]];
        group.append(
          svg("line", { x1: from[0], y1: from[1], x2: to[0], y2: to[1], stroke: colors[layer], "stroke-width": 2 }),
        );
      }
      group.append(svg("circle", { cx: x, cy: y, r: unit * 2.5, style: `fill:${colors[layer]}` }));
    });
    return group;
  }

  // ---- tables

  function table(columns, rows, keyOf) {
    const head = html("tr", {}, columns.map(([name, , title]) => html("th", { scope: "col", title }, name)));
    const body = html("tbody", {});
    rows.forEach((row, place) => {
      const line = html("tr", { tabindex: place ? -1 : 0, "data-key": keyOf(place) });
      for (const [, cell] of columns) {
        const [text, kind] = [cell(row, place)].flat();
        line.append(html("td", { class: kind }, text));
      }
      body.append(line);
    });
    return html("div", { class: "table" }, html("table", {}, html("thead", {}, head), body));
  }

  function costColumns(rows) {
    const terms = [...new Set(rows.flatMap((row) => Object.keys(row.costs || {})))];
    return terms.map((term) => [term, (row) => short((row.costs || {})[term]), `${term}: term of the matching's cost`]);
  }

  const sum = (costs) => Object.values(costs).reduce((total, value) => total + (value ?? 0), 0);

  function sampleTable(object) {
    const rows = object.samples;
    if (!rows.length) return html("p", { class: "soft" }, "No sample learns this object.");
    if (data.kind === "outputs") {
      const columns = [
        ["query", (row) => String(row.query)],
        ["weight", (row) => number(row.weight), "w⁺ as a share of the object's heaviest"],
        ["IoU", (row) => number(row.iou), "of the predicted box with the object"],
      ];
      return table(columns, rows, (place) => `sample-${place}`);
    }
    const strides = rows.some((row) => row.stride !== null) && data.kind === "points";
    const graded = rows.some((row) => row.grade !== 1);
    const costs = costColumns(rows);
    const columns = [
      [data.kind === "points" ? "point" : "query", (row) => String(row.sample)],
      ...(strides ? [["stride", (row) => String(row.stride)]] : []),
      ...(data.order ? [["only here", (row) => (row.only ? "yes" : "")]] : []),
      ["w⁺", (row) => short(row.positive), "pulls the class score up"],
      ["w⁻", (row) => short(row.negative), "pushes the score of the object's class down"],
      ["w°", (row) => short(row.box), "pulls the box"],
      ["P", (row) => number(row.score), "of the object's class"],
      ["IoU", (row) => number(row.iou), "of the predicted box with the object"],
      ...(graded ? [["grade", (row) => short(row.grade), "how much the matching likes the pair"]] : []),
      ...costs,
      ...(costs.length > 1 ? [["cost", (row) => short(sum(row.costs))]] : []),
    ];
    return table(columns, rows, (place) => `sample-${place}`);
  }

  function layerTable(object) {
    const rows = object.layers;
    const columns = [
      ["layer", (row, place) => String(place + 1)],
      ["query", (row) => [row.query === null ? "–" : String(row.query), row.changed ? "alarm" : ""], "red where it changes"],
      ["IoU", (row) => number(row.iou)],
      ["P", (row) => number(row.score)],
      ...costColumns(rows),
      ["cost", (row) => number(row.cost)],
      ["next best", (row) => (row.runner_up === null ? "–" : String(row.runner_up))],
      ["margin", (row) => [number(row.margin), row.margin < 0 ? "alarm" : ""], "how much more the next best costs"],
    ];
    return table(columns, rows, (place) => `layer-${place}`);
  }

  function noiseTable(object) {
    const label = (row) => (row.label < data.classes.length ? data.classes[row.label] : "unknown");
    const columns = [
      ["query", (row) => String(row.sample)],
      ["group", (row) => String(row.group)],
      ["", (row) => [row.positive ? "+" : "−", row.positive ? "good" : "alarm"], "+ is to find the object, − nothing"],
      ["class given", (row) => [label(row), row.label === object.label ? "" : "alarm"], "red where it was changed"],
      ["IoU before", (row) => number(row.start_iou), "of the noised box with the object"],
      ["IoU after", (row) => number(row.iou), "of the box of the last layer with the object"],
    ];
    return table(columns, object.noise, (place) => `noise-${place}`);
  }

  // ---- one object in one view

  function windowOf(box) {
    const [width, height] = [data.width, data.height];
    const share = Math.max((box[2] - box[0]) / width, (box[3] - box[1]) / height);
    const part = Math.min(Math.max(3 * share, (6 * data.cell) / Math.min(width, height)), 1);
    const left = Math.min(Math.max((box[0] + box[2] - part * width) / 2, 0), (1 - part) * width);
    const top = Math.min(Math.max((box[1] + box[3] - part * height) / 2, 0), (1 - part) * height);
    return [left, top, left + part * width, top + part * height];
  }

  function zoomed(view, place, targets, label, touch) {
    const [width, height] = [place[2] - place[0], place[3] - place[1]];
    const unit = width / 300;
    return svg(
      "svg",
      { class: "zoom", viewBox: `${place[0]} ${place[1]} ${width} ${height}`, role: "img", "aria-label": label },
      svg("image", { href: data.image, width: data.width, height: data.height }),
      outlines(unit, touch, place),
      targets.map((index) => sampleMarks(view, index, unit)),
    );
  }

  function countsOf(view, index) {
    const object = view.objects[index];
    if (object.positives === undefined) return object.count === 1 ? "1 query learns it" : `${object.count} queries learn it`;
    if (!object.positives) return object.count ? `${object.count} samples learn its box alone` : "no sample";
    const more = object.count > object.samples.length ? `, the ${object.samples.length} heaviest are listed` : "";
    const what = object.positives === 1 ? "1 sample" : `${object.positives} samples, as ${number(object.effective, 1)} of equal w⁺`;
    return `${what}; the best has ${Math.round(100 * object.best_share)} % of w⁺; best IoU ${number(object.best_iou)}${more}`;
  }

  function detail(view, index) {
    const object = { ...view.objects[index], label: data.objects[index].label };
    const { name, box } = data.objects[index];
    return [
      html("h3", {}, `${index} ${name}, ${sizeOf(box)}`),
      html("p", { class: "soft" }, countsOf(view, index)),
      zoomed(view, windowOf(box), [index], `${view.name}, object ${index} enlarged`),
      object.noise ? null : sampleTable(object),
      object.layers ? html("h3", {}, "Layer by layer") : null,
      object.layers ? layerTable(object) : null,
      object.noise ? html("h3", {}, "Denoising queries made from it") : null,
      object.noise && object.noise.length ? noiseTable(object) : null,
    ];
  }

  // ---- keyboard: one stop per list, arrows inside it

  function roving(list, selector) {
    list.addEventListener("keydown", (event) => {
      const items = [...list.querySelectorAll(selector)];
      const here = items.indexOf(document.activeElement);
      const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
      let next = null;
      if (here >= 0 && event.key in steps) next = items[here + steps[event.key]];
      if (event.key === "Home") next = items[0];
      if (event.key === "End") next = items[items.length - 1];
      if (!next) return;
      event.preventDefault();
      for (const item of items) item.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }

  // ---- the page

  const photos = data.views.map((view) => {
    const unit = data.width / 420;
    const canvas = data.weights ? html("canvas", { width: data.width, height: data.height }) : null;
    const marks = svg("g", {});
    const drawing = svg(
      "svg",
      { viewBox: `0 0 ${data.width} ${data.height}`, role: "img", "aria-label": `objects of ${view.name}` },
      marks,
      outlines(unit, "hover"),
    );
    const photo = html(
      "div",
      { class: "photo", style: `aspect-ratio:${data.width}/${data.height}` },
      html("img", { src: data.image, alt: "" }),
      canvas,
      drawing,
    );
    return { view, unit, canvas, marks, photo, detail: html("div", { class: "detail" }) };
  });

  const chips = new Map();

  function choice(name, value, text, checked, change) {
    const input = html("input", { type: "radio", name, value });
    input.checked = checked;
    input.addEventListener("change", change);
    return html("label", { class: "choice" }, input, text);
  }

  const scale = html("span", { class: "scale" });

  function showScale() {
    const weight = data.weights[state.weight];
    const places = [0, 0.25, 0.5, 0.75, 1].map((place) => colorOf(weight, place * weight.top));
    const bar = html("i", { style: `background:linear-gradient(90deg,${places.join(",")}),#333` });
    scale.replaceChildren("0", bar, weight.is_share ? short(weight.top) : `≥ ${short(weight.top)}`);
  }

  function controls() {
    if (!data.weights) return null;
    const redraw = () => {
      photos.forEach(({ canvas, view }) => drawMap(canvas, view));
      showScale();
    };
    const weights = data.weights.map((weight, index) =>
      choice("weight", index, weight.sign, index === 0, () => {
        state.weight = index;
        redraw();
      }),
    );
    const levels = ["all", ...data.strides.map(String)].map((level) =>
      choice("level", level, level, level === "all", () => {
        state.level = level;
        redraw();
      }),
    );
    redraw();
    const folded = data.folded.length ? `nothing on strides ${data.folded.join(", ")}` : null;
    return html(
      "div",
      { class: "controls" },
      html("fieldset", {}, html("span", {}, "weight"), weights),
      html("fieldset", {}, html("span", {}, "stride"), levels),
      scale,
      folded ? html("span", { class: "soft" }, folded) : null,
    );
  }

  function objectList() {
    const list = html("div", { class: "objects", role: "toolbar", "aria-label": "objects" });
    (data.order || data.objects.map((_, index) => index)).forEach((index, place) => {
      const { name, color, box } = data.objects[index];
      const badge = data.badges ? ` · ${data.badges[index]}` : "";
      const chip = html(
        "button",
        { type: "button", tabindex: place ? -1 : 0, "aria-pressed": "false" },
        html("b", { style: `background:${color}` }),
        html("span", {}, `${index} ${name}`),
        html("small", {}, `${sizeOf(box)}${badge}`),
      );
      chip.addEventListener("pointerenter", () => hover(index));
      chip.addEventListener("pointerleave", () => hover(null));
      chip.addEventListener("focus", () => pin(index));
      chip.addEventListener("click", () => pin(index));
      chips.set(index, chip);
      list.append(chip);
    });
    roving(list, "button");
    return list;
  }

  function cropSection() {
    if (!data.crops.length) return null;
    const shown = data.crops.slice(0, MOST_CROPS);
    const figures = shown.map((crop) => {
      const windows = data.views.map((view) => {
        const numbers = crop.targets.slice(0, MOST_NAMED).join(", ") + (crop.targets.length > MOST_NAMED ? ", …" : "");
        const label = `${view.name}: ${crop.targets.length > 1 ? "objects" : "object"} ${numbers}`;
        return html(
          "figure",
          {},
          zoomed(view, crop.box, crop.targets, label, "click"),
          html("figcaption", {}, `${label}, ${number(crop.zoom, 1)} times as large`),
        );
      });
      return html("div", { class: "crop" }, windows);
    });
    const left = data.crops.length - shown.length;
    return html(
      "section",
      {},
      html("h2", {}, "Small objects"),
      left ? html("p", { class: "soft" }, `The ${shown.length} windows around the smallest; ${left} more are not shown here.`) : null,
      html("div", { class: "crops" }, figures),
    );
  }

  function light(key, column) {
    for (const node of column.querySelectorAll(".lit")) node.classList.remove("lit");
    if (!key) return;
    for (const node of column.querySelectorAll(`[data-mark="${key}"], [data-key="${key}"]`)) node.classList.add("lit");
  }

  function render() {
    const index = shownObject();
    for (const node of document.querySelectorAll("[data-object]")) {
      node.classList.toggle("shown", Number(node.dataset.object) === index);
    }
    for (const [own, chip] of chips) {
      chip.setAttribute("aria-pressed", String(own === state.pinned));
      chip.classList.toggle("shown", own === index);
    }
    for (const { view, unit, marks, detail: place } of photos) {
      marks.replaceChildren(...(index === null ? [] : [sampleMarks(view, index, unit)]));
      place.replaceChildren(...(index === null ? [] : detail(view, index).filter(Boolean)));
      for (const body of place.querySelectorAll("tbody")) roving(body, "tr");
    }
    for (const node of document.querySelectorAll(".detail [data-object]")) {
      node.classList.toggle("shown", Number(node.dataset.object) === index);
    }
  }

  function hover(index) {
    if (state.hovered === index) return;
    state.hovered = index;
    render();
  }

  function pin(index) {
    if (state.pinned === index && state.hovered === null) return;
    state.pinned = index;
    state.hovered = null;
    render();
  }

  const columns = photos.map(({ view, photo, detail: place }) => {
    const facts = Object.entries(view.facts).map(([name, value]) =>
      html("div", {}, html("dt", {}, name), html("dd", {}, String(value))),
    );
    const column = html("section", { class: "view" }, html("h2", {}, view.name), photo, html("dl", { class: "facts" }, facts), place);
    for (const [starts, ends] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
      place.addEventListener(starts, (event) => {
        const row = event.target.closest ? event.target.closest("tr[data-key]") : null;
        if (row) light(row.dataset.key, column);
      });
      place.addEventListener(ends, (event) => {
        if (event.target.closest && event.target.closest("tr[data-key]")) light(null, column);
      });
    }
    return column;
  });

  document.body.append(
    html(
      "main",
      { class: data.weights ? "" : "plain" },
      html("h1", {}, `${data.title}, ${data.width} × ${data.height}`),
      html("p", { class: "soft" }, data.subtitle),
      data.explanation.map((sentence) => html("p", { class: "soft" }, sentence)),
      controls(),
      data.objects.length ? objectList() : html("p", {}, "There is no object on this image."),
      html("div", { class: "views" }, columns),
      cropSection(),
    ),
  );
  render();
})();
