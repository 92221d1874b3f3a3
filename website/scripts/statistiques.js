// The figures of 30 days: a number, a chart whose table says the same, and both as CSV.
import { ask, data, day, element, fill, number, tell } from "./parts/page.js";

const DATASETS = data("noms-jeux");
const WIDTH = matchMedia("(max-width: 36em)").matches ? 360 : 960, // a unit is a pixel, or nearly
  HEIGHT = 240, BELOW = 24, LEFT = 44, RIGHT = 16;

function chart(days) {
  const most = Math.max(1, ...days.map((row) => row.total));
  const step = (WIDTH - LEFT - RIGHT) / days.length, high = HEIGHT - BELOW - 12;
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "ap-chart", "aria-hidden": "true", focusable: "false" });
  for (const part of [0, 0.5, 1]) {
    const y = 12 + high * (1 - part);
    svg.append(element("line", { x1: LEFT, x2: WIDTH, y1: y, y2: y }));
    if (part !== 0.5 || most > 1) svg.append(element("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, number(Math.round(most * part))));
  }
  days.forEach((row, index) => {
    const height = (high * row.total) / most, x = LEFT + index * step;
    const bar = element("rect", { x: x + 2, y: 12 + high - height, width: step - 4, height });
    bar.append(element("title", {}, `${day(row.date)} : ${number(row.total)}`));
    svg.append(bar);
    if (index % 7 === 1) svg.append(element("text", { x: x + step / 2, y: HEIGHT - 6, "text-anchor": "middle" }, row.date.slice(8) + "/" + row.date.slice(5, 7)));
  });
  return svg;
}

function csv(link, name, header, rows) {
  const text = [header, ...rows].map((row) => row.join(";")).join("\r\n") + "\r\n";
  link.href = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
}

try {
  const figures = await ask("api/stats/details");
  const { debut, fin } = figures.periode;
  document.getElementById("nombre").textContent = number(figures.total);
  document.getElementById("periode").textContent = `du ${day(debut)} au ${day(fin)}`;
  document.getElementById("graphique").replaceChildren(chart(figures.parJour));
  fill(document.getElementById("par-jour"), figures.parJour.toReversed().map((row) => [day(row.date), number(row.total)]));
  const datasets = Object.keys(DATASETS).map((name) => [name, figures.parJeuDeDonnees[name] ?? 0]).sort((row, other) => other[1] - row[1]);
  fill(document.getElementById("par-jeu"), datasets.map(([name, total]) => {
    const meter = element("meter", { class: "ap-meter", min: 0, max: Math.max(1, figures.total), value: total, "aria-hidden": "true" });
    return [DATASETS[name], number(total), meter];
  }));
  csv(document.getElementById("csv-jour"), `api-particulier-par-jour-${fin}.csv`, ["date", "reponses"], figures.parJour.map((row) => [row.date, row.total]));
  csv(document.getElementById("csv-jeu"), `api-particulier-par-jeu-de-donnees-${fin}.csv`, ["jeu_de_donnees", "reponses"], datasets);
  document.getElementById("chiffres").hidden = false;
} catch (error) {
  tell(document.getElementById("message"), "error", "Les statistiques ne sont pas disponibles", error.message);
}
