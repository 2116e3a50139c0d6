// Tables that sort by any column: runs with their scores, config differences, where runs come from.

const collator = new Intl.Collator("en", { numeric: true });

function compared(a, b, sign) {
  // what is missing comes last in both directions
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(String(a), String(b)));
}

// columns: {label, value(row), text(row), number, title, first} where `first` is the direction of the first click
function sortable(caption, columns, rows) {
  const body = make("tbody");
  const heads = columns.map((column) =>
    make("th", { scope: "col", class: column.number && "number", title: column.title },
      make("button", { type: "button", onclick: () => sort(column) }, column.label)));
  let sorted = null;

  function cell(column, row, n) {
    const text = column.text ? column.text(row) : column.value(row);
    const brief = typeof text === "string" && text.length <= 30 && "brief";
    const attributes = { class: column.number ? "number" : brief, ...(column.hint && { title: column.hint(row) }) };
    return n === 0 ? make("th", { scope: "row", ...attributes }, text ?? "–") : make("td", attributes, text ?? "–");
  }

  function fill(order) {
    body.replaceChildren(...order.map((row) => make("tr", {}, columns.map((column, n) => cell(column, row, n)))));
  }

  function sort(column) {
    const turned = sorted?.column === column;
    const sign = turned ? -sorted.sign : column.first ?? 1;
    sorted = { column, sign };
    heads.forEach((head, n) => {
      if (columns[n] === column) head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    fill([...rows].sort((a, b) => compared(column.value(a) ?? null, column.value(b) ?? null, sign)));
  }

  fill(rows);
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    make("table", { "aria-label": caption }, make("thead", {}, make("tr", {}, heads)), body));
}

const text = (label, value, more) => ({ label, value, ...more });
const numeric = (label, value, more) => ({ label, value, number: true, text: (row) => number(value(row)), first: -1, ...more });

const spread = (found) => found && `${withUnit(found.mean)}${found.deviation === null ? "" : ` ± ${number(found.deviation, 2)}`}`;
const signed = (value) => (value > 0 ? `+${number(value, 3)}` : number(value, 3));

function groupsTable() {
  const { score, table } = DATA;
  if (table.groups.length < 2 && table.rows.length < 2) return null;
  const better = score.higher_is_better ? -1 : 1;
  const classes = [...new Set(table.groups.flatMap((group) => Object.keys(group.classes)))];
  const columns = [
    text("config", (group) => group.name),
    numeric(`${score.name} ± sd`, (group) => group.mean, { first: better, text: (group) => spread(group.mean === null ? null : group), title: "mean and sample standard deviation over seeds" }),
    text("seeds x crops", (group) => group.counts),
    ...(table.groups.length < 2 ? [] : [
      numeric("difference", (group) => group.difference?.value ?? null, { first: better, title: `from ${table.baseline}`, text: (group) => group.difference && signed(group.difference.value) }),
      numeric("95 % interval", (group) => group.difference?.interval?.[0] ?? null, { text: (group) => group.difference?.interval && group.difference.interval.map(signed).join(" to ") }),
      text("compared", (group) => group.difference?.verdict ?? null, { text: (group) => (group.name === table.baseline ? "the baseline" : group.difference?.verdict) }),
    ]),
    ...(classes.length > 1 ? classes.map((name) => numeric(name, (group) => group.classes[name]?.mean ?? null, { first: better, text: (group) => spread(group.classes[name]) })) : []),
  ];
  return [sortable("Configs over their seeds", columns, table.groups), make("h3", { class: "sub" }, "Single runs")];
}

function runsTable() {
  const { score, table } = DATA;
  const better = score.higher_is_better ? -1 : 1;
  const classes = [...new Set(table.rows.flatMap((row) => Object.keys(row.classes)))];
  const runs = new Map(DATA.runs.map((run) => [run.name, run]));
  const columns = [
    text("run", (row) => row.name),
    numeric(score.name, (row) => row.value, { first: better, text: (row) => withUnit(row.value), hint: (row) => row.why_none || null }),
    ...(classes.length > 1 ? classes.map((name) => numeric(name, (row) => row.classes[name] ?? null, { first: better, title: `${score.name} of ${name}` })) : []),
    numeric("iteration", (row) => row.iteration, { text: (row) => row.iteration?.toLocaleString("en") }),
    numeric("trained", (row) => runs.get(row.name).iterations, { title: "iterations done, and how many the run is to have", text: (row) => progressOf(runs.get(row.name)) }),
    text("segmenter", (row) => row.segmenter),
    text("crops", (row) => row.crops),
    numeric("seeds", (row) => row.seeds, { title: "reported runs with a value that differ by the seed alone" }),
  ];
  add("runs",
    make("p", { class: "soft" }, `By ${score.name}${score.unit && ` (${score.unit})`}, ${score.higher_is_better ? "higher" : "lower"} is better: ${score.description}. `,
      "Each run by its best iteration and segmenter, chosen on the selection crops."),
    groupsTable(), sortable("Runs", columns, table.rows), notes(table));
}

function progressOf(run) {
  const done = run.iterations.toLocaleString("en");
  return run.of_iterations && run.of_iterations !== run.iterations ? `${done} of ${run.of_iterations.toLocaleString("en")}` : done;
}

function notes(table) {
  const all = [...table.rows.filter((row) => row.why_none).map((row) => `${row.name}: ${row.why_none}`), ...table.notes];
  return all.length ? make("div", { class: "notes", style: { "margin-top": ".7rem" } }, make("ul", {}, all.map((note) => make("li", {}, note)))) : null;
}

function differencesTable() {
  const { keys, rows } = DATA.table;
  if (!keys.length) {
    add("differences",make("p", { class: "soft" }, rows.length > 1 ? "The configs are the same." : "There is one run."));
    return;
  }
  const columns = [text("run", (row) => row.name), ...keys.map((key) => text(key, (row) => asNumber(row.differing[key]), { text: (row) => row.differing[key] }))];
  add("differences",
    make("p", { class: "soft" }, `${counted(keys.length, "key")} with more than one value; everything else is the same in all runs.`),
    sortable("Config differences", columns, rows));
}

function asNumber(value) {
  if (value === undefined || value === "-") return null;
  return value.trim() !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
}
