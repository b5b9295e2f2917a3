// Draws the chart of the page it stands in, with uPlot. What it draws is in the element «data»: the cells of the table below,
// shaped by eventmw/charts/shape.py. Every text becomes a text node or is drawn; nothing here makes HTML, and the page's policy
// forbids it. Without this script the table is what the page shows. Its other work is to save that table as CSV, whose text is
// in the element «csv».
"use strict";
(() => {
  const source = document.getElementById("data");
  if (!source) return;
  const spec = JSON.parse(source.textContent);
  const root = document.documentElement;
  const controls = document.getElementById("controls");

  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };

  // The page may ask no server for anything, so the file is made here. That needs allow-downloads in the page's sandbox.
  function save() {
    const text = JSON.parse(document.getElementById("csv").textContent);
    const address = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
    const words = spec.title.replace(/[^\p{L}\p{M}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
    element("a", { href: address, download: `${Array.from(words).slice(0, 80).join("") || "table"}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000); // the browser may still ask where to put it
  }
  const saving = element("button", { type: "button", class: "save", "aria-label": "Save the table as CSV" }, "CSV");
  saving.addEventListener("click", save);
  controls.append(saving);
  controls.hidden = false;
  if (!spec.axis) return;

  const section = document.getElementById("chart");
  const table = document.getElementById("table");
  const grouped = spec.axis === "groups";
  const places = grouped ? spec.labels.map((_, index) => index) : spec.times;
  const state = { view: spec.views[0], measure: 0, hidden: new Set(), at: null };

  const FONT = 12; // pixels of the axes' texts
  const ROW = [30, 54]; // pixels of a group's row: at least, at most
  const ALONE = 480; // pixels of a plot whose one bar is compared with no other
  const GAP = 10;
  // Lines differ by more than their colour from the fifth on.
  const DASHES = [[], [], [], [], [7, 4], [2, 3], [10, 3, 2, 3], [4, 2]];
  const VIEWS = { line: "Line", bar: "Bars", table: "Table" };
  const PRINTED = { width: 680, height: 300 };

  // ── Words and numbers ──────────────────────────────────────────────────────────────────────────────────────────────────

  // As eventmw/charts/cells.py writes them.
  function number(value, digits = null) {
    const size = Math.abs(value);
    if (digits !== null && size < 1e15 && (size >= 1e-4 || !size)) {
      return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits, signDisplay: "negative" });
    }
    if (size && !Number.isInteger(value) && size < 1e-4) return String(Number(value.toPrecision(6)));
    if (size >= 1e15) return String(Number(value.toPrecision(6)));
    const decimals = Math.max(2, size >= 1 ? 6 - String(Math.trunc(size)).length : 6);
    return value.toLocaleString("en-US", { maximumFractionDigits: decimals });
  }

  function ticks(values, step) {
    const largest = Math.max(...values.map(Math.abs));
    const notation = largest >= 1e15 || largest < 1e-4 ? "scientific" : largest >= 1e4 ? "compact" : "standard";
    const fine = /^[125]0*$/.test(String(step).replace(/^0\.0*|\./g, "").replace(/e.*/, "")) ? 0 : 1; // a step of 2.5
    const digits = Math.min(15, Math.max(1, Math.ceil(Math.log10(largest / step) + 1e-9) + 1 + fine));
    const style = { notation, maximumSignificantDigits: digits };
    return values.map((value) => (value === 0 ? "0" : value.toLocaleString("en-US", style)));
  }

  const isolated = (text) => element("bdi", { title: text }, text);

  const sketch = document.createElement("canvas").getContext("2d");
  const measured = (text) => sketch.measureText(text).width;
  function shortened(text, room) {
    if (measured(text) <= room) return text;
    const letters = Array.from(text);
    let [fits, most] = [0, letters.length];
    while (fits < most) {
      const middle = Math.ceil((fits + most) / 2);
      if (measured(letters.slice(0, middle).join("") + "…") <= room) fits = middle;
      else most = middle - 1;
    }
    return letters.slice(0, fits).join("").trimEnd() + "…";
  }

  const measure = () => spec.measures[state.measure];
  const shown = () => measure().series.filter((_, index) => !state.hidden.has(index));
  const named = (index) => (spec.partial[index] ? `${spec.labels[index]} (${spec.partial[index]})` : spec.labels[index]);
  const hasValue = (index) => shown().some((one) => one.values[index] != null);

  // ── What stands around the plot ────────────────────────────────────────────────────────────────────────────────────────

  const legend = element("ul", { class: "legend", "aria-label": "Series" });
  const plot = element("div", {
    class: "plot", "data-axis": spec.axis, role: "slider", tabindex: "0",
    "aria-orientation": grouped ? "vertical" : "horizontal", "aria-valuemin": "1", "aria-valuemax": String(places.length),
  });
  const tip = element("div", { class: "tip", "aria-hidden": "true", hidden: "" });
  const band = element("div", { class: "band", hidden: "" });
  const note = element("p", { class: "note" });
  section.append(legend, plot, note);
  plot.append(tip);

  function views() {
    const field = element("fieldset", { class: "views" }, element("legend", {}, "View"));
    for (const view of spec.views) {
      const choice = element("input", { type: "radio", name: "view", value: view });
      choice.checked = view === state.view;
      choice.addEventListener("change", () => show(view));
      field.append(element("label", {}, choice, element("span", {}, VIEWS[view])));
    }
    return field;
  }

  function measures() {
    const select = element("select", {});
    spec.measures.forEach((one, index) => select.append(element("option", { value: String(index) }, one.name)));
    select.addEventListener("change", () => {
      state.measure = Number(select.value);
      state.hidden.clear();
      state.at = null;
      build();
    });
    return element("label", { class: "measure" }, "Show", select);
  }

  const chooser = spec.measures.length > 1 ? measures() : null;
  controls.prepend(...[chooser, views()].filter(Boolean));

  const swatch = (index) => {
    const space = "http://www.w3.org/2000/svg";
    const picture = document.createElementNS(space, "svg");
    for (const [name, value] of [["class", `key s${index}`], ["viewBox", "0 0 20 10"], ["aria-hidden", "true"]]) {
      picture.setAttribute(name, value);
    }
    const line = document.createElementNS(space, state.view === "line" ? "path" : "rect");
    const form = state.view === "line"
      ? { d: "M0 5H20", stroke: "currentColor", "stroke-width": 2.5, "stroke-dasharray": DASHES[index].join(" ") || "none" }
      : { x: 5, width: 10, height: 10, rx: 2, fill: "currentColor" };
    for (const [name, value] of Object.entries(form)) line.setAttribute(name, String(value));
    picture.append(line);
    return picture;
  };

  function legends() {
    const { series } = measure();
    legend.replaceChildren();
    legend.hidden = series.length < 2;
    if (legend.hidden) return;
    series.forEach((one, index) => {
      const button = element("button", { type: "button" }, swatch(index), isolated(one.name));
      button.setAttribute("aria-pressed", String(!state.hidden.has(index)));
      button.addEventListener("click", () => toggle(index, button));
      legend.append(element("li", {}, button));
    });
  }

  function toggle(index, button) {
    if (state.hidden.has(index)) state.hidden.delete(index);
    else if (shown().length > 1) state.hidden.add(index);
    button.setAttribute("aria-pressed", String(!state.hidden.has(index)));
    for (const at of ofSeries(index)) chart.setSeries(at, { show: !state.hidden.has(index) });
    describe();
    if (!tip.hidden) point(state.at);
  }

  function describe() {
    const { series, omitted } = measure();
    const points = shown().flatMap((one) =>
      one.values.flatMap((value, index) => (value == null ? [] : [[value, named(index), one.name, one.decimals]])));
    points.sort((a, b) => a[0] - b[0]);
    const told = ([value, label, name, digits]) =>
      `${number(value, digits)} at ${label}${series.length > 1 ? `, ${name}` : ""}`;
    const kind = state.view === "line" ? "Line chart" : "Bar chart";
    plot.setAttribute("aria-label",
      `${kind}: ${spec.title}. ${spec.measures.length > 1 ? `${measure().name}. ` : ""}` +
      `${number(places.filter((_, index) => hasValue(index)).length)} ` +
      `${grouped ? "groups" : "points"}, ${series.length} series.${points.length ? ` Lowest ${told(points[0])}; highest ${told(points.at(-1))}.` : ""}` +
      ` Arrow keys go from one to the next.`);
    plot.setAttribute("aria-roledescription", "chart");
    plot.setAttribute("aria-valuenow", "1");
    plot.setAttribute("aria-valuetext", "none chosen");
    const left = [];
    if (omitted) {
      left.push(`${series.length} of ${number(series.length + omitted)} groups are drawn, the largest ones.`);
    }
    if (spec.omitted) {
      left.push(`The first ${places.length} of ${number(places.length + spec.omitted)} groups are drawn.`);
    }
    if (left.length) left.push("The table has all.");
    const cut = Object.keys(spec.partial).map((index) => `${spec.labels[index]} (${spec.partial[index]})`);
    const look = state.view === "line" ? "Dashed" : "Hollow";
    if (cut.length) left.push(`${look}: ${cut.join(" and ")} ${cut.length > 1 ? "are" : "is"} not whole.`);
    note.textContent = left.join(" ");
  }

  // ── The point that is read ─────────────────────────────────────────────────────────────────────────────────────────────

  function point(index) {
    state.at = index;
    const rows = measure().series
      .map((one, place) => ({ place, name: one.name, value: one.values[index], decimals: one.decimals }))
      .filter((row) => !state.hidden.has(row.place) && row.value != null);
    if (state.view === "line") rows.sort((a, b) => b.value - a.value);
    const several = measure().series.length > 1;
    tip.replaceChildren(element("strong", { dir: "auto" }, named(index)));
    for (const row of rows) {
      const name = isolated(several ? row.name : measure().name);
      tip.append(element("div", {}, swatch(row.place), name, element("b", {}, number(row.value, row.decimals))));
    }
    if (!rows.length) tip.append(element("div", {}, "no value"));
    plot.setAttribute("aria-valuenow", String(index + 1));
    const told = rows.map((row) => `${several ? `${row.name} ` : ""}${number(row.value, row.decimals)}`).join(", ");
    plot.setAttribute("aria-valuetext", `${named(index)}: ${told || "no value"}`);
    tip.hidden = false;
    put(index, rows);
  }

  // Beside the point, and inside of the plot.
  function put(index, rows) {
    const along = chart.valToPos(places[index], "x");
    const across = rows.length ? chart.valToPos(rows[0].value, "y") : 0;
    const [x, y] = grouped ? [across, along] : [along, across];
    const [left, top] = [chart.over.offsetLeft + x, chart.over.offsetTop + y];
    const room = [plot.clientWidth - tip.offsetWidth, plot.clientHeight - tip.offsetHeight];
    const beside = left + 14 <= room[0] ? left + 14 : left - tip.offsetWidth - 14;
    tip.style.left = `${Math.max(0, Math.min(room[0], beside))}px`;
    tip.style.top = `${Math.max(0, Math.min(room[1], top - tip.offsetHeight / 2))}px`;
    band.hidden = state.view === "line";
    if (band.hidden) return;
    const half = thickness() / 2;
    const dims = grouped ? ["top", "height", "left", "width"] : ["left", "width", "top", "height"];
    band.style[dims[0]] = `${along - half}px`;
    band.style[dims[1]] = `${half * 2}px`;
    band.style[dims[2]] = "0";
    band.style[dims[3]] = "100%";
  }

  const thickness = () => Math.abs(chart.valToPos(places[0] + unit(), "x") - chart.valToPos(places[0], "x"));
  const unit = () => (grouped ? 1 : spec.width);

  function unpoint() {
    tip.hidden = band.hidden = true;
  }

  function nearest(index) {
    for (let away = 0; away < places.length; away += 1) {
      for (const other of [index - away, index + away]) if (other in places && hasValue(other)) return other;
    }
    return index;
  }

  function step(from, by) {
    let index = from;
    for (let left = Math.abs(by); left > 0; left -= 1) {
      let next = index + Math.sign(by);
      while (next in places && !hasValue(next)) next += Math.sign(by);
      if (!(next in places)) break;
      index = next;
    }
    return index;
  }

  let chosen = null; // the place that a key chose: the pixels of two thousand places are not all different
  function go(index) {
    chosen = index;
    const at = chart.valToPos(places[index], "x");
    chart.setCursor(grouped ? { left: 1, top: at } : { left: at, top: 1 });
    chosen = null;
    point(index);
    if (grouped) scrollTo(index);
  }

  function scrollTo(index) {
    const top = plot.getBoundingClientRect().top + chart.over.offsetTop + chart.valToPos(places[index], "x");
    if (top < 40 || top > innerHeight - 40) scrollBy({ top: top - innerHeight / 2 });
  }

  const first = () => nearest(0);
  const last = () => nearest(places.length - 1);
  const KEYS = {
    ArrowRight: (at) => step(at, 1), ArrowLeft: (at) => step(at, -1),
    ArrowDown: (at) => step(at, grouped ? 1 : -1), ArrowUp: (at) => step(at, grouped ? -1 : 1),
    PageDown: (at) => step(at, grouped ? 10 : -10), PageUp: (at) => step(at, grouped ? -10 : 10),
    Home: () => first(), End: () => last(),
  };
  plot.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Escape") return void leave();
    if (!KEYS[event.key]) return;
    event.preventDefault();
    const jumps = event.key === "Home" || event.key === "End";
    // The first key shows where one is; the next ones move.
    go(tip.hidden && !jumps ? nearest(state.at ?? 0) : KEYS[event.key](state.at));
  });
  plot.addEventListener("blur", () => leave());

  function leave() {
    if (chart) chart.setCursor({ left: -10, top: -10 });
    unpoint();
  }

  // ── The plot ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  let chart = null;

  function colours() {
    const style = getComputedStyle(root);
    const named = (name) => style.getPropertyValue(name).trim();
    return {
      series: DASHES.map((_, index) => named(`--s${index}`)),
      ink: named("--ink"), soft: named("--soft"), rule: named("--rule"), axis: named("--axis"), ground: named("--ground"),
      shade: Number(named("--shade")),
    };
  }

  // From zero, unless the values lie close together and far from it; a bar always stands on zero.
  const isFar = (low, high) => (low > 0 && low > 0.7 * high) || (high < 0 && high < 0.7 * low);
  function range(low, high) {
    if (low == null) return [0, 1];
    if (state.view === "line" && isFar(low, high)) return low === high ? around(low) : uPlot.rangeNum(low, high, 0.1, true);
    const [bottom, top] = [Math.min(0, low), Math.max(0, high)];
    if (bottom === top) return [0, 1];
    const air = (top - bottom) * 0.06;
    return [low < 0 ? bottom - air : 0, high > 0 ? top + air : 0];
  }
  const around = (value) => (value > 0 ? [0, value * 1.25] : [value * 1.25, 0]);

  function increments() {
    const whole = shown().every((one) => one.values.every((value) => value == null || Number.isInteger(value)));
    const steps = [];
    for (let power = whole ? 0 : -12; power < 300; power += 1) {
      for (const digit of whole && power === 0 ? [1, 2, 5] : [1, 2, 2.5, 5]) steps.push(Number(`${digit}e${power}`));
    }
    return steps;
  }

  function timeSteps() {
    const [second, minute, hour, day] = [1e3, 6e4, 36e5, 864e5];
    const times = (length, counts) => counts.map((count) => count * length);
    return [
      ...times(second, [1, 5, 10, 15, 30]), ...times(minute, [1, 2, 5, 10, 15, 30]), ...times(hour, [1, 2, 3, 4, 6, 8, 12]),
      ...times(day, [1, 2, 3, 4, 5, 7, 10, 15]), ...times(day * 30, [1, 2, 3, 4, 6]), ...times(day * 365, [1, 2, 5, 10, 25, 50, 100]),
    ].filter((length) => length >= spec.width * 0.9);
  }

  const TIMES = [
    [864e5 * 365, "{YYYY}", null, null, null, null, null, null, 1],
    [864e5 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [864e5, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [6e4, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
    [1e3, "{HH}:{mm}:{ss}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  ];

  const zoned = (() => {
    try {
      uPlot.tzDate(new Date(0), spec.zone);
      return (time) => uPlot.tzDate(new Date(time), spec.zone);
    } catch {
      // A browser older than the zone's name: its own clock would be wrong, UTC is at least plain.
      return (time) => uPlot.tzDate(new Date(time), "Etc/UTC");
    }
  })();

  function axisWidth(_, values) {
    sketch.font = font();
    // At least half of the first time's width, which stands below the corner.
    return values ? Math.ceil(Math.max(24, ...values.map((text) => measured(text)))) + GAP + 2 : 36;
  }

  const font = (weight = 400) => `${weight} ${FONT}px ${getComputedStyle(document.body).fontFamily}`;

  function valueAxis(paint, side) {
    return {
      scale: "y", side, font: font(), stroke: paint.soft, gap: side === 3 ? GAP : 6, space: (_, __, ___, ____, room) => Math.max(side === 3 ? 38 : 70, room / 6),
      size: side === 3 ? axisWidth : 28, incrs: increments(), values: (_, splits, __, ___, step) => ticks(splits, step),
      grid: { stroke: paint.rule, width: 1 }, ticks: { show: false },
    };
  }

  function placeAxis(paint, width) {
    const same = { scale: "x", font: font(), stroke: paint.soft, gap: grouped ? GAP : 6, grid: { show: false } };
    if (!grouped) {
      return {
        ...same, side: 2, space: 64, size: 42, incrs: timeSteps(), values: TIMES,
        ticks: { stroke: paint.axis, width: 1, size: 4 }, border: { show: true, stroke: paint.axis, width: 1 },
      };
    }
    sketch.font = font();
    const room = Math.min(280, width * 0.38);
    const labels = spec.labels.map((label) => shortened(label, room));
    return {
      ...same, side: 3, incrs: [1], space: 1, splits: () => places, values: () => labels, ticks: { show: false },
      size: Math.ceil(Math.max(...labels.map(measured))) + GAP, stroke: paint.ink,
    };
  }

  // Each series is drawn twice: its whole buckets, and those that are cut short, so that they look different.
  const isPartial = (at) => at in spec.partial;
  const ofSeries = (index) => [index + 1, index + 1 + measure().series.length];
  function wholes(values) {
    return values.map((value, at) => (isPartial(at) ? null : value));
  }
  function partials(values) {
    const beside = state.view === "line" ? [0, -1, 1] : [0]; // a line leads to its neighbours
    return values.map((value, at) => {
      const isDrawn = beside.some((by) => isPartial(at + by)) && (value !== 0 || state.view === "line");
      return isDrawn ? value : null;
    });
  }

  function line(index, paint, alone) {
    const colour = paint.series[index];
    const { values } = measure().series[index];
    const numbers = values.filter((value) => value != null);
    const filled = alone && !isFar(Math.min(...numbers), Math.max(...numbers)); // an area stands on zero
    const single = values.flatMap((value, at) =>
      (value != null && !isPartial(at) && values[at - 1] == null && values[at + 1] == null ? [at] : []));
    return {
      stroke: colour, width: places.length > plot.clientWidth ? 1 : 2, dash: DASHES[index], spanGaps: false,
      fill: filled ? shaded(colour, paint.shade) : undefined,
      points: {
        size: 6, width: 0, fill: colour, space: 40, filter: (_, __, all) => (all || !single.length ? null : single),
      },
    };
  }

  function partialLine(index, paint) {
    const ends = Object.keys(spec.partial).map(Number).filter((at) => measure().series[index].values[at] != null);
    return {
      stroke: paint.series[index], width: 1.5, dash: [3, 4], spanGaps: false,
      points: { size: 7, width: 1.5, fill: paint.ground, stroke: paint.series[index], filter: () => ends },
    };
  }

  function shaded(colour, share) {
    sketch.fillStyle = colour;
    return `${sketch.fillStyle.slice(0, 7)}${Math.round(share * 255).toString(16).padStart(2, "0")}`;
  }

  function bar(index, paint, count, partial) {
    const whole = unit() * (count > 1 ? 0.84 : 0.68);
    const size = whole / count;
    const fill = partial ? shaded(paint.series[index], paint.shade) : paint.series[index];
    return {
      stroke: paint.series[index], fill, width: partial ? 1.5 : 0, dash: partial ? [3, 3] : [], points: { show: false },
      paths: uPlot.paths.bars({
        radius: (u) => [Math.min(0.2, 3 / Math.abs(u.valToPos(places[0] + size, "x") - u.valToPos(places[0], "x"))), 0],
        disp: {
          x0: { unit: 1, values: (u) => u.data[0].map((at) => at - whole / 2 + size * index) },
          size: { unit: 1, values: () => [size * (count > 1 ? 0.9 : 1)] },
        },
      }),
    };
  }

  function along() {
    const half = unit() / 2;
    const [from, to] = [places[0], places.at(-1)];
    if (state.view === "line") return from === to ? [from - half, to + half] : [from, to];
    // One bar alone would be as wide as the plot.
    const air = places.length === 1 && !grouped ? Math.max(1.5, plot.clientWidth / 200) * unit() : half;
    return [from - air, to + air];
  }

  // A bar's number at its end: where groups are compared one reads numbers rather than a scale.
  function numbers(paint) {
    return (u) => {
      if (!grouped) return;
      const { ctx } = u;
      ctx.save();
      ctx.font = font(600).replace(`${FONT}px`, `${FONT * devicePixelRatio}px`);
      ctx.fillStyle = paint.ink;
      ctx.textBaseline = "middle";
      const { values, decimals } = measure().series[0];
      values.forEach((value, index) => {
        const text = value == null ? "no value" : number(value, decimals);
        const left = value != null && value < 0;
        ctx.fillStyle = value == null ? paint.soft : paint.ink;
        ctx.textAlign = left ? "right" : "left";
        const end = u.valToPos(value ?? 0, "y", true) + (left ? -6 : 6) * devicePixelRatio;
        ctx.fillText(text, end, u.valToPos(index, "x", true));
      });
      ctx.restore();
    };
  }

  function zero(paint) {
    return (u) => {
      const { min, max } = u.scales.y;
      if (min > 0 || max < 0 || (!grouped && min === 0)) return;
      const at = Math.round(u.valToPos(0, "y", true)) + 0.5;
      const { left, top, width, height } = u.bbox;
      u.ctx.save();
      u.ctx.strokeStyle = paint.axis;
      u.ctx.lineWidth = devicePixelRatio;
      u.ctx.beginPath();
      u.ctx.moveTo(grouped ? at : left, grouped ? top : at);
      u.ctx.lineTo(grouped ? at : left + width, grouped ? top + height : at);
      u.ctx.stroke();
      u.ctx.restore();
    };
  }

  // Room for the numbers beside the bars; those of negative bars stand left of them.
  function groupRange(width) {
    sketch.font = font(600);
    const { values, decimals } = measure().series[0];
    const widest = (wanted) => Math.max(0, ...values.filter(wanted).map((value) => measured(number(value, decimals)) + 12));
    const [right, left] = [widest((value) => value != null && value >= 0), widest((value) => value != null && value < 0)];
    return (_, low, high) => {
      if (low == null) return [0, 1];
      const [bottom, top] = [Math.min(0, low), Math.max(0, high)];
      const span = top - bottom || 1;
      const each = span / Math.max(60, width - left - right);
      return [bottom - left * each, top + right * each || 1];
    };
  }

  function options(width, height) {
    const paint = colours();
    const { series } = measure();
    const labels = placeAxis(paint, width);
    const inner = width - (grouped ? labels.size : 0);
    return {
      width, height, ms: 1, tzDate: zoned, pxAlign: 1, legend: { show: false }, focus: { alpha: 1 },
      padding: [10, grouped ? 4 : 26, 0, grouped ? 0 : 4],
      cursor: {
        x: state.view === "line", y: false, drag: { x: false, y: false, setScale: false },
        points: { ...(state.view === "line" ? {} : { show: false }), size: 9, fill: (u, index) => u.series[index].stroke(u, index) },
        dataIdx: (_, __, index) => chosen ?? nearest(index),
      },
      scales: {
        x: { time: !grouped, range: () => along(), ori: grouped ? 1 : 0, dir: grouped ? -1 : 1 },
        y: { range: grouped ? groupRange(inner) : (_, low, high) => range(low, high), ori: grouped ? 0 : 1, dir: 1 },
      },
      axes: [labels, valueAxis(paint, grouped ? 2 : 3)],
      series: [
        {},
        ...series.map((_, index) => ({
          show: !state.hidden.has(index),
          ...(state.view === "line" ? line(index, paint, series.length === 1) : bar(index, paint, series.length, false)),
        })),
        ...series.map((_, index) => ({
          show: !state.hidden.has(index),
          ...(state.view === "line" ? partialLine(index, paint) : bar(index, paint, series.length, true)),
        })),
      ],
      hooks: {
        drawAxes: [zero(paint)],
        draw: [numbers(paint)],
        setCursor: [(u) => {
          if (chosen !== null) return;
          if (u.cursor.left < 0 || u.cursor.idx == null) unpoint();
          else point(nearest(u.cursor.idx));
        }],
      },
    };
  }

  function size() {
    if (root.hasAttribute("data-printing")) return { ...PRINTED, ...(grouped ? { height: places.length * ROW[0] + 40 } : {}) };
    if (!grouped) return { width: plot.clientWidth, height: plot.clientHeight };
    const free = innerHeight - plot.getBoundingClientRect().top - scrollY - note.offsetHeight - 24;
    const height = Math.max(places.length * ROW[0] + 40, Math.min(free, places.length * ROW[1] + 40));
    return { width: places.length === 1 ? Math.min(ALONE, plot.clientWidth) : plot.clientWidth, height };
  }

  let drawn = "";
  function build() {
    if (chart) chart.destroy();
    chart = null;
    unpoint();
    if (state.view === "table") return;
    legends();
    describe();
    plot.style.height = "";
    const { width, height } = size();
    if (grouped || root.hasAttribute("data-printing")) plot.style.height = `${height}px`;
    drawn = `${width} ${innerHeight} ${plot.clientHeight}`;
    const values = measure().series.map((one) => one.values);
    chart = new uPlot(options(width, height), [places, ...values.map(wholes), ...values.map(partials)], plot);
    chart.over.append(band);
    plot.append(tip);
  }

  function show(view) {
    state.view = view;
    root.dataset.view = view;
    section.hidden = view === "table";
    if (chooser) chooser.hidden = view === "table";
    table.tabIndex = view === "table" ? 0 : -1;
    build();
  }

  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    controls.querySelector("input[value=table]").checked = true;
    show("table");
    table.focus();
  });

  let waiting = 0;
  new ResizeObserver(() => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      if (chart && !root.hasAttribute("data-printing") && `${plot.clientWidth} ${innerHeight} ${plot.clientHeight}` !== drawn) build();
    });
  }).observe(document.body);
  for (const wanted of ["(prefers-color-scheme: dark)", "(forced-colors: active)", "(prefers-contrast: more)"]) {
    matchMedia(wanted).addEventListener("change", build);
  }
  addEventListener("beforeprint", () => {
    root.toggleAttribute("data-printing", true);
    build();
  });
  addEventListener("afterprint", () => {
    root.toggleAttribute("data-printing", false);
    build();
  });

  show(state.view);
})();
