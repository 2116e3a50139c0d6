// Segments of a run: mean uncertainty next to the error, as points and as a table.

const NAMED_CROPS = 8;
const DOTS = { least: 2.5, greatest: 13 };

function segmentsSection() {
  if (!DATA.segments.length) return;
  place("segments").hidden = false;
  document.querySelector('nav a[href="#segments"]').hidden = false;
  const holder = make("div");
  let [run, crop, error] = [0, 0, 0];
  const crops = make("span");
  const redraw = () => holder.replaceChildren(...segmentsOf(DATA.segments[run], crop - 1, SEGMENT_ERRORS[error]));
  const chooseRun = (chosen) => {
    [run, crop] = [chosen, 0];
    const names = namesOfCrops(DATA.segments[run]);
    crops.replaceChildren(...[chooser("crop", names.length > 1 ? ["all", ...names] : names, (one) => { crop = one; redraw(); })].filter(Boolean));
    redraw();
  };
  add("segments",
    make("p", { class: "soft" }, "Do uncertain segments have the errors? Each segment's mean uncertainty next to its error: the share of its voxels outside of the true object that it matches best. ",
      "A fragment of an object has no error, but a low IoU with it."),
    make("div", { class: "controls" }, chooser("run", DATA.segments.map((one) => one.run), chooseRun), crops,
      chooser("error", SEGMENT_ERRORS.map((one) => one.label), (one) => { error = one; redraw(); })),
    holder);
  chooseRun(0);
}

const SEGMENT_ERRORS = [
  { label: "error", of: (segment) => segment.error },
  { label: "1 - IoU", of: (segment) => 1 - segment.iou },
];

function namesOfCrops({ crops }) {
  const classes = new Set(crops.map((crop) => crop.class)).size > 1;
  return crops.map((crop) => `${crop.part}/${crop.name}${classes ? `, ${crop.class}` : ""}`);
}

function segmentsOf(found, chosen, error) {
  const names = namesOfCrops(found);
  const all = found.id.map((id, n) => ({
    id, crop: found.crop[n], voxels: found.voxels[n], um3: found.um3[n], uncertainty: found.uncertainty[n], error: found.error[n], iou: found.iou[n],
  }));
  const shown = chosen < 0 ? all : all.filter((one) => one.crop === chosen);
  const ranked = found.crops.map((_, n) => n).filter((n) => (chosen < 0 || n === chosen) && found.crops[n].correlation !== null);
  const mean = ranked.reduce((sum, n) => sum + found.crops[n].correlation, 0) / ranked.length;
  const words = ranked.length > NAMED_CROPS ? `${number(mean, 3)}, the mean over crops and classes`
    : ranked.map((n) => `${names[n]} ${number(found.crops[n].correlation, 3)}`).join(", ");
  const columns = [
    numeric("segment", (one) => one.id, { text: (one) => String(one.id) }),
    text("crop", (one) => names[one.crop]),
    numeric("voxels", (one) => one.voxels, { text: (one) => one.voxels.toLocaleString("en") }),
    numeric("µm³", (one) => one.um3),
    numeric(`mean ${found.quantity}`, (one) => one.uncertainty),
    numeric("error", (one) => one.error, { title: "share of its voxels outside of the true object that it matches best" }),
    numeric("IoU", (one) => one.iou, { first: 1, title: "intersection over union with that object" }),
  ];
  return [
    make("p", { class: "soft" }, `${found.run}, iteration ${found.iteration.toLocaleString("en")}, ${found.segmenter}`,
      found.is_best ? "" : " (chosen by the task's score: of the best by this score no segments are stored)",
      `. ${all.length < found.of ? `The ${all.length.toLocaleString("en")} largest of ${counted(found.of, "segment")}` : counted(found.of, "segment")}. `,
      words && `Rank correlation of uncertainty and error: ${words}.`),
    make("div", { class: "segments" }, scatter(shown, found, names, error), sortable("Segments", columns, shown)),
  ];
}

function scatter(segments, found, names, error) {
  const svg = draw("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "img", "aria-label": `${error.label} over mean ${found.quantity}: ${counted(segments.length, "segment")}` });
  const figure = make("figure", { class: "panel" }, make("figcaption", {}, `${error.label} of segments; the larger the dot, the larger the segment`), svg);
  if (!segments.length) {
    svg.append(draw("text", { x: BOX.width / 2, y: BOX.height / 2, "text-anchor": "middle" }, "no segments"));
    return figure;
  }
  const x = linear(extent(segments.map((one) => one.uncertainty), 0.04), [BOX.left, BOX.width - BOX.right]);
  const y = linear([-0.03, 1.03], [BOX.height - BOX.bottom, BOX.top]);
  axes(svg, x, y, `mean ${found.quantity}`, (at) => number(at, 3));
  const largest = Math.max(...segments.map((one) => one.voxels));
  // small ones lie on top of large ones
  for (const one of [...segments].sort((a, b) => b.voxels - a.voxels)) {
    const words = `segment ${one.id} of ${names[one.crop]}\n${one.voxels.toLocaleString("en")} voxels, ${number(one.um3)} µm³\nmean ${found.quantity} ${number(one.uncertainty)}\nerror ${number(one.error)}, IoU ${number(one.iou)}`;
    const radius = DOTS.least + (DOTS.greatest - DOTS.least) * Math.sqrt(one.voxels / largest);
    svg.append(draw("circle", { class: "segment", cx: x(one.uncertainty).toFixed(1), cy: y(error.of(one)).toFixed(1), r: radius.toFixed(1), fill: "var(--c0)",
      onpointermove: (event) => tip(event, words), onpointerleave: (event) => tip(event, "") }));
  }
  return figure;
}
