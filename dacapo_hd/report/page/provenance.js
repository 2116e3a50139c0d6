// Where the runs come from, and this page.

function provenance() {
  const columns = [
    text("run", (run) => run.name),
    text("created", (run) => run.created),
    text("code", (run) => run.git_sha, { text: (run) => make("code", {}, run.git_sha || "–") }),
    numeric("seed", (run) => run.seed, { text: (run) => String(run.seed) }),
    text("config", (run) => run.config_hash, { text: (run) => make("code", {}, run.config_hash) }),
    numeric("environment", (run) => run.environment, { first: 1, text: (run) => (run.environment === null ? "not recorded" : `${run.environment + 1}`) }),
    text("command", (run) => run.command.map(quoted).join(" "), { text: (run) => (run.command.length ? make("code", {}, run.command.map(quoted).join(" ")) : "not recorded") }),
  ];
  add("provenance",
    make("dl", {}, [
      ["this page", `${DATA.created}, code ${DATA.git_sha}, from ${DATA.store}`],
      ["command", DATA.command.length ? make("code", {}, DATA.command.map(quoted).join(" ")) : "called from Python"],
    ].map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
    sortable("Provenance", columns, DATA.runs),
    DATA.environments.map(environment), configs());
}

const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

function environment(one, n) {
  const users = DATA.runs.filter((run) => run.environment === n).map((run) => run.name);
  const entries = [["python", one.python], ["platform", one.platform], ...Object.entries(one.hardware ?? {})];
  const words = (value) => (Array.isArray(value) ? value.map(words).join(", ") || "none" : value && typeof value === "object" ? Object.entries(value).map((pair) => pair.join(" ")).join(", ") : String(value ?? "–"));
  return make("details", { open: n === 0 && DATA.environments.length === 1 },
    make("summary", {}, `Environment ${n + 1}: ${counted(users.length, "run")}`),
    make("dl", {}, entries.map(([name, value]) => [make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, words(value))]),
      make("dt", {}, "packages"), make("dd", {}, make("code", {}, Object.entries(one.packages ?? {}).map(([name, version]) => `${name} ${version}`).join(", ") || "–"))));
}

function configs() {
  if (!DATA.texts.length) return null;
  const shown = make("div");
  const show = (n) => shown.replaceChildren(...Object.entries(DATA.runs[n].texts).flatMap(([part, at]) => [make("h3", {}, part), make("pre", {}, DATA.texts[at])]));
  show(0);
  return make("details", {}, make("summary", {}, "Configs in full"),
    chooser("run", DATA.runs.map((run) => run.name), show) ?? make("p", { class: "soft" }, DATA.runs[0].name), shown);
}
