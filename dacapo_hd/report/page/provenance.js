// Where the runs come from, and this page.

const minute = (time) => time.slice(0, 16).replace("T", " ");
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
const commandOf = (words) => words.map(quoted).join(" ");
const asCode = (words) => (words ? make("code", {}, words) : "not recorded");

function provenance() {
  const columns = [
    text("run", (run) => run.name),
    text("created (UTC)", (run) => run.created, { text: (run) => minute(run.created) }),
    text("code", (run) => run.git_sha, { text: (run) => asCode(run.git_sha) }),
    numeric("seed", (run) => run.seed, { first: 1, text: (run) => String(run.seed) }),
    text("config", (run) => run.config_hash, { text: (run) => asCode(run.config_hash) }),
    numeric("environment", (run) => run.environment, { first: 1, text: (run) => (run.environment === null ? "not recorded" : String(run.environment + 1)) }),
    text("command", (run) => commandOf(run.command), { text: (run) => asCode(commandOf(run.command)) }),
  ];
  add("provenance",
    sortable("Provenance", columns, DATA.runs),
    DATA.environments.map((one, n) => environment(one, usersOf(n), DATA.environments.length === 1)),
    environment(DATA.made_with, `This page: ${minute(DATA.created)} UTC, from ${DATA.store}`, false, [["code", DATA.git_sha], ["command", asCode(commandOf(DATA.made_with.command))]]),
    configs());
}

function usersOf(n) {
  const users = DATA.runs.filter((run) => run.environment === n).map((run) => run.name);
  return `Environment ${n + 1}: ${users.length > 3 ? counted(users.length, "run") : users.join(", ")}`;
}

function environment(one, title, open, first = []) {
  const entries = [...first, ["python", one.python], ["platform", one.platform], ...Object.entries(one.hardware ?? {}), ["packages", asCode(versions(one.packages))]];
  return make("details", { open }, make("summary", {}, title), make("dl", {}, entries.map(([name, value]) =>
    [make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, Array.isArray(value) ? value.join(", ") || "none" : value ?? "unknown")])));
}

const versions = (packages) => Object.entries(packages ?? {}).map(([name, version]) => `${name} ${version}`).join(", ");

function configs() {
  if (!DATA.texts.length) return null;
  const shown = make("div");
  const show = (n) => shown.replaceChildren(...Object.entries(DATA.runs[n].texts).flatMap(([part, at]) => [make("h3", {}, part), make("pre", {}, DATA.texts[at])]));
  show(0);
  return make("details", {}, make("summary", {}, "Configs in full"),
    chooser("run", DATA.runs.map((run) => run.name), show) ?? make("p", { class: "soft" }, DATA.runs[0].name), shown);
}
