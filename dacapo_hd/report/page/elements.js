// Small helpers: elements, numbers, colours, the tip at the pointer. Texts become text nodes, never HTML.

const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") Object.entries(value).forEach(([key, one]) => node.style.setProperty(key, one));
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

const make = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);
const place = (id) => document.getElementById(id);
const add = (id, ...children) => filled(place(id), {}, children);

function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(digits)));
}

function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

function withUnit(value) {
  return value === null || value === undefined || !DATA.score.unit ? number(value) : `${number(value)} ${DATA.score.unit}`;
}

// cividis (Nuñez, Anderton and Renslow 2018), which people with any kind of colour vision see alike
const CIVIDIS = [
  [0, 34, 78], [0, 46, 106], [26, 56, 111], [50, 67, 109], [67, 78, 108], [83, 90, 109],
  [97, 101, 111], [111, 112, 115], [125, 124, 120], [140, 136, 120], [155, 148, 118], [171, 160, 114],
  [188, 174, 108], [205, 187, 99], [222, 201, 88], [240, 216, 70], [254, 232, 56],
];

function ramp(share) {
  const at = Math.min(1, Math.max(0, share)) * (CIVIDIS.length - 1);
  const below = Math.min(CIVIDIS.length - 2, Math.floor(at));
  return CIVIDIS[below].map((low, channel) => Math.round(low + (CIVIDIS[below + 1][channel] - low) * (at - below)));
}

const css = (rgb) => `rgb(${rgb.join(" ")})`;
const rampGradient = (from = 0, to = 1) =>
  `linear-gradient(90deg, ${CIVIDIS.map((_, n) => css(ramp(from + ((to - from) * n) / (CIVIDIS.length - 1)))).join(", ")})`;

function scaleOf(low, high, gradient) {
  return make("span", { class: "ramp" }, make("span", {}, low), make("i", { style: { background: gradient } }), make("span", {}, high));
}

function tip(event, text) {
  const box = place("tip");
  box.hidden = !text;
  if (!text) return;
  box.textContent = text;
  const { width, height } = box.getBoundingClientRect();
  box.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
  box.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 18}px`;
}

function chooser(label, options, onchange) {
  if (options.length < 2) return null;
  const select = make("select", { onchange: () => onchange(Number(select.value)) });
  select.append(...options.map((option, n) => make("option", { value: n }, option)));
  return make("label", {}, label, select);
}
