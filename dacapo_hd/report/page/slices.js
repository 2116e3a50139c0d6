// The best and the worst crop: raw, ground truth, prediction and segmentation of a section, and a slider over z.

const [NOTHING, RIGHT, WRONG, MISSED, FOUND_UNKNOWN, NOT_FOUND_UNKNOWN] = [0, 1, 2, 3, 4, 5];
const MEANINGS = ["absent, not found", "present and found", "found, but absent", "present, but not found", "found, not annotated", "not annotated"];
const MARKS = { [RIGHT]: [0, 158, 115], [WRONG]: [213, 94, 0], [MISSED]: [86, 180, 233], [FOUND_UNKNOWN]: [153, 153, 153] };
const HATCH = [190, 190, 190];
const RANKS = { best: "Best crop", worst: "Worst crop", only: "The only crop" };

function viewers() {
  const { problem, fidelity, shown } = DATA.slices;
  if (problem) add("slices", make("p", { class: "soft" }, `No slices: ${problem}.`));
  if (fidelity) add("slices", make("p", { class: "soft" }, `Up to ${fidelity.sections} sections of each crop, those with annotations first, of up to ${fidelity.longest_px} pixels along the longer side; ` +
    `raw as JPEG of quality ${fidelity.jpeg_quality}, predictions in ${fidelity.levels} levels, marks and objects exactly.`));
  add("slices", shown.map(viewer));
}

function viewer(one, n) {
  const title = `${RANKS[one.rank]}: ${one.part}/${one.crop}`;
  const head = [
    make("h3", { id: `slices-${n}` }, title),
    make("p", { class: "soft small" }, `${DATA.score.name} ${withUnit(one.value)} · run ${one.run}, iteration ${one.iteration.toLocaleString("en")}, ${one.segmenter}`),
  ];
  const body = one.sections ? panelsOf(one.sections) : [make("p", { class: "problem" }, `No slices of this crop: ${one.problem}.`)];
  return make("article", { class: "card", "aria-labelledby": `slices-${n}` }, head, body);
}

function panelsOf(data) {
  const state = { section: Math.floor((data.numbers.length - 1) / 2), chosen: 0, opacity: 0.5, objects: false };
  const panels = ["raw", "ground truth", "prediction", "segmentation"].map((name) => panel(name, data));
  const words = make("output", { class: "small soft", "aria-live": "off" });
  const view = { data, state, panels, words, turn: 0, layers: null };
  const update = (changes) => {
    Object.assign(state, changes);
    refresh(view);
  };
  panels.forEach((one) => listen(one, view));
  const objects = data.classes.some((one) => one.truth || one.found);
  const grid = make("div", { class: aspect(data) > 2 ? "views wide" : "views" }, panels.map((one) => one.figure));
  const controls = make("div", { class: "controls" },
    slider(view, update),
    chooser("class", data.classes.map((one) => one.name), (chosen) => update({ chosen })),
    objects ? make("label", {}, make("input", { type: "checkbox", onchange: (event) => update({ objects: event.target.checked }) }), "objects in colours") : null,
    make("label", {}, "overlay", make("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "opacity of the overlay", oninput: (event) => update({ opacity: event.target.value / 100 }) })),
    make("label", {}, make("input", { type: "checkbox", onchange: (event) => grid.classList.toggle("large", event.target.checked) }), "large"));
  refresh(view);
  return [controls, grid, swatches(), words, described(data)];
}

const aspect = (data) => (data.width * data.pixel_nm[1]) / (data.height * data.pixel_nm[0]);

function slider(view, update) {
  const { data, state } = view;
  if (data.numbers.length < 2) return null;
  const label = make("output", {});
  const input = make("input", { type: "range", min: 0, max: data.numbers.length - 1, step: 1, value: state.section, "aria-label": "section" });
  const show = (section) => {
    input.value = section;
    const words = `section ${data.numbers[section] + 1} of ${data.of}, z ${number(data.depths_nm[section], 6)} nm`;
    label.textContent = words;
    input.setAttribute("aria-valuetext", words);
  };
  const go = (section) => {
    const inside = Math.max(0, Math.min(data.numbers.length - 1, section));
    show(inside);
    update({ section: inside });
  };
  input.addEventListener("input", () => go(Number(input.value)));
  show(state.section);
  const button = (sign, text, words) => make("button", { class: "plain", type: "button", "aria-label": words, onclick: () => go(state.section + sign) }, text);
  return make("label", { class: "sections" }, "z", button(-1, "‹", "section before"), input, button(1, "›", "next section"), label);
}

function panel(name, data) {
  const canvas = make("canvas", { width: data.width, height: data.height, role: "img", "aria-label": name });
  const cross = make("div", { class: "cross", hidden: true });
  const view = make("div", { class: "view", style: { "aspect-ratio": String(aspect(data)) } }, canvas, cross, name === "raw" ? scaleBar(data) : null);
  const note = make("p", { class: "note small soft" });
  return { name, canvas, cross, view, note, figure: make("figure", {}, make("figcaption", {}, name), view, note) };
}

function scaleBar(data) {
  const width = data.width * data.pixel_nm[1], wanted = width / 4, power = 10 ** Math.floor(Math.log10(wanted));
  const length = [5, 2, 1].map((step) => step * power).find((one) => one <= wanted);
  return make("div", { class: "bar", style: { width: `${(100 * length) / width}%` } }, length < 1000 ? `${number(length)} nm` : `${number(length / 1000)} µm`);
}

function swatches() {
  const of = (mark) => make("li", {}, make("i", { style: { background: css(MARKS[mark]) } }), MEANINGS[mark]);
  return make("ul", { class: "swatches" }, [RIGHT, WRONG, MISSED, FOUND_UNKNOWN].map(of), make("li", {}, make("i", { class: "hatch" }), "not annotated"));
}

function described(data) {
  const parts = [`${data.height} x ${data.width} pixels (y, x) of ${data.pixel_nm.map((size) => number(size)).join(" x ")} nm`];
  if (data.factor > 1) parts.push(`each is ${data.factor} x ${data.factor} voxels: means of raw and prediction, the middle voxel of the rest`);
  if (data.box) parts.push(`the crop is too large to be predicted here: its middle, voxels ${data.box.map(([begin, end]) => `${begin}:${end}`).join(",")} (z, y, x)`);
  return make("p", { class: "small soft" }, `${parts.join("; ")}.`);
}

// What is shown: three layers of bytes and the raw picture

async function inflated(text) {
  if (!text) return null;
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function picture(text) {
  const image = new Image();
  image.src = `data:image/jpeg;base64,${text}`;
  await image.decode();
  return image;
}

async function refresh(view) {
  const { data, state } = view, one = data.classes[state.chosen], n = state.section;
  const turn = ++view.turn;
  const layer = (name) => inflated(one?.[name]?.[n]);
  const [raw, marks, prediction, truth, found] = await Promise.all(
    [picture(data.raw[n]), layer("marks"), layer("prediction"), layer("truth"), layer("found")]);
  // a later turn of the slider was faster
  if (turn !== view.turn) return;
  view.layers = { marks, prediction };
  const [, ground, predicted, segmented] = view.panels;
  const overlays = new Map([
    [ground, marks && overlay(data, (at) => truthColour(marks, truth, at, state.objects))],
    [segmented, marks && overlay(data, (at) => foundColour(marks, found, at, state.objects))],
  ]);
  for (const panel of view.panels) {
    const context = panel.canvas.getContext("2d");
    if (panel === predicted) predict(context, panel, data, one, prediction);
    else {
      context.globalAlpha = 1;
      context.drawImage(raw, 0, 0);
      context.globalAlpha = state.opacity;
      if (overlays.get(panel)) context.drawImage(overlays.get(panel), 0, 0);
    }
  }
  view.panels[0].figure.dataset.section = data.numbers[n];
}

const hatched = (at, width) => (Math.floor(at / width) + (at % width)) % 8 < 2;
// the golden angle keeps colours of neighbouring numbers apart
const objectColours = Array.from({ length: 256 }, (_, n) => hue((n * 137.508) % 360, n % 2 ? 0.55 : 0.68));

function hue(degrees, light) {
  const strength = 0.85 * Math.min(light, 1 - light);
  return [0, 8, 4].map((n) => {
    const at = (n + degrees / 30) % 12;
    return Math.round(255 * (light - strength * Math.max(-1, Math.min(at - 3, 9 - at, 1))));
  });
}

function truthColour(marks, truth, at, objects) {
  const mark = marks[at];
  if (mark >= FOUND_UNKNOWN) return "hatch";
  if (objects && truth) return truth[at] ? objectColours[truth[at]] : null;
  return mark === RIGHT || mark === MISSED ? MARKS[RIGHT] : null;
}

function foundColour(marks, found, at, objects) {
  if (objects && found) return found[at] ? objectColours[found[at]] : null;
  return marks[at] === NOT_FOUND_UNKNOWN ? "hatch" : MARKS[marks[at]];
}

function overlay(data, colourAt) {
  const canvas = make("canvas", { width: data.width, height: data.height }), context = canvas.getContext("2d");
  const image = context.createImageData(data.width, data.height);
  for (let at = 0; at < data.width * data.height; at++) {
    const colour = colourAt(at);
    if (!colour) continue;
    const [red, green, blue] = colour === "hatch" ? HATCH : colour;
    image.data.set([red, green, blue, colour === "hatch" && !hatched(at, data.width) ? 0 : 255], 4 * at);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function predict(context, panel, data, one, prediction) {
  panel.note.replaceChildren();
  if (!prediction) {
    context.clearRect(0, 0, data.width, data.height);
    panel.note.append("no single channel to show");
    return;
  }
  const image = context.createImageData(data.width, data.height);
  const colours = Array.from({ length: one.levels }, (_, level) => [...ramp(level / (one.levels - 1)), 255]);
  prediction.forEach((level, at) => image.data.set(colours[level], 4 * at));
  context.putImageData(image, 0, 0);
  panel.note.append(`${one.channel} `, scaleOf(number(one.low), number(one.high), rampGradient()));
}

// The same place in all panels, and what is there in words

function listen(panel, view) {
  const { data } = view;
  panel.view.addEventListener("pointermove", (event) => {
    const box = panel.view.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    view.panels.forEach(({ cross }) => {
      cross.hidden = false;
      cross.style.left = `${100 * x}%`;
      cross.style.top = `${100 * y}%`;
    });
    const [column, row] = [Math.min(data.width - 1, Math.floor(x * data.width)), Math.min(data.height - 1, Math.floor(y * data.height))];
    view.words.textContent = sayPixel(view, column, row);
  });
  panel.view.addEventListener("pointerleave", () => {
    view.panels.forEach(({ cross }) => (cross.hidden = true));
    view.words.textContent = "";
  });
}

function sayPixel({ data, state, layers }, column, row) {
  if (!layers?.marks) return "";
  const one = data.classes[state.chosen], at = row * data.width + column;
  const value = layers.prediction ? `, ${one.channel} ${number(one.low + ((one.high - one.low) * layers.prediction[at]) / (one.levels - 1), 2)}` : "";
  return `y ${row * data.factor}, x ${column * data.factor}: ${one.name} ${MEANINGS[layers.marks[at]]}${value}`;
}
