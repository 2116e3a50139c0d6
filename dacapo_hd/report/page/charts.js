// Losses and scores over the iterations; runs that differ by the seed alone have one colour.

const COLOURS = 7;
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
const SHOWN_GROUPS = 10;
const BOX = { width: 460, height: 290, left: 56, right: 12, top: 8, bottom: 38 };

function styles() {
  const groups = [...new Set(DATA.runs.map((run) => run.group))];
  return new Map(DATA.runs.map((run) => {
    const n = groups.indexOf(run.group);
    return [run.name, { n, stroke: `var(--c${n % COLOURS})`, "stroke-dasharray": DASHES[Math.floor(n / COLOURS) % DASHES.length] || null }];
  }));
}

function curves() {
  const parts = [...new Set(DATA.runs.flatMap((run) => Object.keys(run.losses)))];
  const style = styles();
  const visible = new Set(DATA.runs.filter((run) => style.get(run.name).n < SHOWN_GROUPS).map((run) => run.name));
  const better = DATA.score.higher_is_better ? "higher" : "lower";
  const panels = parts.map((part) => ({ title: `${part} loss`, log: true, of: (run) => run.losses[part] }));
  if (DATA.runs.some((run) => run.scores)) {
    const unit = DATA.score.unit && `, ${DATA.score.unit}`;
    panels.unshift({ title: `selection crops: ${DATA.score.name}${unit} (${better} is better)`, dots: true, of: (run) => run.scores });
  }
  if (!panels.length) {
    add("curves", make("p", { class: "soft" }, "No run has statistics or scores yet."));
    return;
  }
  const holder = make("div", { class: "panels" });
  const redraw = () => holder.replaceChildren(...panels.map((panel) => chart(panel, DATA.runs.filter((run) => visible.has(run.name)), style)));
  const chips = DATA.runs.map((run) => chip(run, style.get(run.name), visible, redraw));
  const all = (on) => () => {
    visible.clear();
    if (on) DATA.runs.forEach((run) => visible.add(run.name));
    chips.forEach((one) => one.setAttribute("aria-pressed", on));
    redraw();
  };
  add("curves",
    make("p", { class: "soft" }, "Losses are means over spans of iterations, with the least and the greatest value around them; scores are those of each iteration's best segmenter on the selection crops",
      DATA.runs.some((run) => run.scores?.mark) ? ", with a diamond for the best of all on the test crops." : "."),
    DATA.runs.length > 1 ? make("div", { class: "controls" },
      make("button", { class: "plain", type: "button", onclick: all(true) }, "Show all"),
      make("button", { class: "plain", type: "button", onclick: all(false) }, "Hide all")) : null,
    make("ul", { class: "legend" }, chips.map((one) => make("li", {}, one))), holder);
  redraw();
}

function chip(run, style, visible, redraw) {
  const line = draw("svg", { width: 22, height: 8, "aria-hidden": "true" }, draw("line", { x1: 0, y1: 4, x2: 22, y2: 4, "stroke-width": 3, ...stroke(style) }));
  const button = make("button", { class: "chip", type: "button", "aria-pressed": visible.has(run.name), onclick: () => {
    if (!visible.delete(run.name)) visible.add(run.name);
    button.setAttribute("aria-pressed", visible.has(run.name));
    redraw();
  } }, line, run.name);
  return button;
}

const stroke = (style) => ({ stroke: style.stroke, "stroke-dasharray": style["stroke-dasharray"] });

function chart(panel, runs, style) {
  const shown = runs.map((run) => ({ run, curve: panel.of(run) })).filter(({ curve }) => curve && curve.mean.some((value) => value !== null));
  const svg = draw("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "img", "aria-label": `${panel.title}: ${counted(shown.length, "curve")}` });
  const figure = make("figure", { class: "panel" }, make("figcaption", {}, panel.title), svg);
  if (!shown.length) {
    svg.append(draw("text", { x: BOX.width / 2, y: BOX.height / 2, "text-anchor": "middle" }, "nothing to show"));
    return figure;
  }
  const marks = shown.map(({ curve }) => curve.mark?.[1]).filter((value) => value !== undefined);
  const x = linear(extent(shown.flatMap(({ curve }) => curve.iterations), 0), [BOX.left, BOX.width - BOX.right]);
  const y = vertical(panel, shown.flatMap(({ curve }) => curve.mean).filter((value) => value !== null).concat(marks));
  axes(svg, x, y);
  const paths = shown.map(({ run, curve }) => ({ run, curve, nodes: lineOf(curve, x, y, style.get(run.name), panel, shown.length) }));
  paths.forEach(({ nodes }) => svg.append(...nodes.bands));
  paths.forEach(({ nodes }) => svg.append(...nodes.lines));
  svg.addEventListener("pointermove", (event) => point(event, svg, paths, x, y));
  svg.addEventListener("pointerleave", (event) => {
    tip(event, "");
    paths.forEach(({ nodes }) => nodes.lines.forEach((line) => line.classList.remove("strong")));
  });
  return figure;
}

function extent(values, margin) {
  const low = Math.min(...values), high = Math.max(...values);
  const room = high > low ? (high - low) * margin : Math.abs(high) * 0.1 || 0.5;
  return [low - room, high + room];
}

function linear([low, high], [from, to]) {
  const scale = (value) => from + ((value - low) / (high - low)) * (to - from);
  return Object.assign(scale, { ticks: ticks(low, high), invert: (at) => low + ((at - from) / (to - from)) * (high - low) });
}

function vertical(panel, values) {
  const range = [BOX.height - BOX.bottom, BOX.top];
  const [low, high] = extent(values, 0.06);
  const lowest = Math.min(...values);
  if (!panel.log || lowest <= 0 || Math.max(...values) < 3 * lowest) return linear([low, high], range);
  const inside = linear(extent(values.map(Math.log10), 0.06), range);
  return Object.assign((value) => inside(Math.log10(Math.max(value, 1e-300))), { ticks: decades(10 ** inside.invert(range[0]), 10 ** inside.invert(range[1])) });
}

function ticks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((one) => one * power >= rough) * power;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, n) => Number(((first + n) * step).toPrecision(12)));
}

function decades(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const one of [1, 2, 5]) if (one * 10 ** power >= low && one * 10 ** power <= high) found.push(Number((one * 10 ** power).toPrecision(6)));
  }
  return found.length > 8 ? found.filter((value) => /^1/.test(value.toExponential())) : found;
}

function axes(svg, x, y, label = "iteration", format = (at) => at.toLocaleString("en")) {
  const bottom = BOX.height - BOX.bottom;
  for (const at of y.ticks) {
    svg.append(draw("line", { class: "axis", x1: BOX.left, x2: BOX.width - BOX.right, y1: y(at), y2: y(at) }),
      draw("text", { x: BOX.left - 7, y: y(at) + 4, "text-anchor": "end" }, number(at, 3)));
  }
  for (const at of x.ticks) {
    svg.append(draw("line", { class: "axis", x1: x(at), x2: x(at), y1: bottom, y2: bottom + 4 }),
      draw("text", { x: x(at), y: bottom + 18, "text-anchor": "middle" }, format(at)));
  }
  svg.append(draw("line", { class: "axis", x1: BOX.left, x2: BOX.width - BOX.right, y1: bottom, y2: bottom }),
    draw("text", { x: (BOX.left + BOX.width - BOX.right) / 2, y: BOX.height - 3, "text-anchor": "middle" }, label));
}

function lineOf(curve, x, y, style, panel, count) {
  const points = curve.iterations.map((iteration, n) => ({ n, at: x(iteration), value: curve.mean[n] }));
  // a gap where nothing is known
  const parts = points.reduce((found, one) => {
    if (one.value === null) found.push([]);
    else found.at(-1).push(one);
    return found;
  }, [[]]).filter((part) => part.length);
  const clamp = (value) => Math.min(BOX.height - BOX.bottom, Math.max(BOX.top, y(value)));
  const xy = (at, value) => `${at.toFixed(1)},${clamp(value).toFixed(1)}`;
  const lines = parts.map((part) => draw("polyline", { class: "curve", ...stroke(style), points: part.map((one) => xy(one.at, one.value)).join(" ") }));
  const alone = panel.dots ? parts.flat() : parts.filter((part) => part.length === 1).flat();
  const dots = alone.map((one) => draw("circle", { cx: one.at, cy: clamp(one.value), r: count > 12 ? 2 : 3, fill: style.stroke }));
  const bands = curve.low && count <= 12 ? parts.map((part) => draw("polygon", { class: "band", fill: style.stroke, points:
    [...part.map((one) => xy(one.at, curve.high[one.n])), ...part.toReversed().map((one) => xy(one.at, curve.low[one.n]))].join(" ") })) : [];
  const [at, value] = curve.mark ? [x(curve.mark[0]), clamp(curve.mark[1])] : [];
  const diamond = curve.mark ? [draw("path", { class: "diamond", fill: style.stroke, d: `M${at} ${value - 6}l6 6l-6 6l-6 -6z` })] : [];
  return { lines: [...lines, ...dots, ...diamond], bands };
}

function point(event, svg, paths, x, y) {
  const box = svg.getBoundingClientRect(), scale = BOX.width / box.width;
  const [px, py] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  let nearest = { distance: 30 };
  for (const path of paths) {
    path.curve.iterations.forEach((iteration, n) => {
      const value = path.curve.mean[n];
      const distance = value === null ? Infinity : Math.hypot(x(iteration) - px, y(value) - py);
      if (distance < nearest.distance) nearest = { distance, path, iteration, value };
    });
  }
  paths.forEach((path) => path.nodes.lines.forEach((line) => line.classList.toggle("strong", path === nearest.path)));
  tip(event, nearest.path ? `${nearest.path.run.name}\niteration ${nearest.iteration.toLocaleString("en")}: ${number(nearest.value)}` : "");
}
