// Crops by runs: what each run's best candidate scored in each crop, the better the brighter.

const NUMBERS_UP_TO = 14;

function heatMap() {
  const { crops, classes, values } = DATA.heat;
  if (!crops.length) {
    add("crops", make("p", { class: "soft" }, `No run has a value of ${DATA.score.name}.`));
    return;
  }
  const holder = make("div");
  const show = (chosen) => holder.replaceChildren(...heatOf(crops, values.map((row) => row.map((cell) => cell[chosen])), classes[chosen]));
  add("crops",
    make("p", { class: "soft" }, `${DATA.score.name} of each run's best iteration and segmenter. Brighter is better. `,
      crops.some((crop) => crop.part !== "validate") ? "Crops of validate chose them; the others are only reported." : "These crops also chose them, which flatters the values."),
    make("div", { class: "controls" }, chooser("class", classes, show)), holder);
  show(0);
}

function heatOf(crops, values, className) {
  const known = values.flat().filter((value) => value !== null);
  const [low, high] = known.length ? [Math.min(...known), Math.max(...known)] : [0, 0];
  const good = (value) => (high === low ? 0.5 : DATA.score.higher_is_better ? (value - low) / (high - low) : (high - value) / (high - low));
  const many = crops.length > NUMBERS_UP_TO;
  const name = (crop) => `${crop.part}/${crop.name}`;
  const cell = (run, n, crop) => {
    const value = values[n][crop];
    const words = `${run.name}\n${name(crops[crop])}, ${className}: ${value === null ? "no value" : withUnit(value)}`;
    const colour = value === null ? null : ramp(good(value));
    const bright = colour && colour[0] * 0.3 + colour[1] * 0.59 + colour[2] * 0.11 > 120;
    return make("td", { class: value === null && "none", "aria-label": words, style: colour ? { background: css(colour), color: bright ? "#111" : "#fff" } : {},
      onpointermove: (event) => tip(event, words), onpointerleave: (event) => tip(event, "") }, many ? "" : number(value, 3));
  };
  const head = make("tr", {}, make("th", { scope: "col" }, "run"), crops.map((crop) => make("th", { scope: "col" }, make("span", {}, name(crop)))));
  const rows = DATA.runs.map((run, n) => make("tr", {}, make("th", { scope: "row" }, run.name), crops.map((_, crop) => cell(run, n, crop))));
  const table = make("table", { class: many ? "heat many" : "heat", "aria-label": "Runs by crops" }, make("thead", {}, head), make("tbody", {}, rows));
  const [worst, best] = DATA.score.higher_is_better ? [low, high] : [high, low];
  return [
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Runs by crops" }, table),
    make("p", { class: "small soft" }, known.length ? scaleOf(`worst ${withUnit(worst)}`, `${withUnit(best)} best`, rampGradient()) : "", known.length < values.flat().length ? "  Hatched: no value." : ""),
  ];
}
