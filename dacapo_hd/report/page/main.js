// Everything in its order.

place("summary").textContent = [
  counted(DATA.runs.length, "run"),
  counted(new Set(DATA.runs.map((run) => run.group)).size, "config"),
  counted(DATA.heat.crops.length, "crop"),
  `made ${DATA.created.slice(0, 16).replace("T", " ")} UTC`,
].join(" · ");
runsTable();
differencesTable();
curves();
heatMap();
segmentsSection();
viewers();
provenance();
