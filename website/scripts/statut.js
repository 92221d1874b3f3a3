// The service now and over 30 days, as `GET /api/status` says.
import { PROVIDERS, ask, data, day, element, fill, moment, number, tell } from "./parts/page.js";

const DATASETS = data("noms-jeux");
const STATES = {
  disponible: ["success", "Disponible"],
  perturbe: ["warning", "Perturbé"],
  indisponible: ["error", "Indisponible"],
  maintenance: ["info", "En maintenance"],
  non_configure: ["warning", "Non configuré"],
  inconnu: ["info", "Pas encore vérifié"],
};
const OVERALL = {
  disponible: ["success", "Le service est disponible"],
  perturbe: ["warning", "Le service est perturbé"],
  indisponible: ["error", "Le service est indisponible"],
  maintenance: ["info", "Le service est en maintenance"],
};
function promise({ seuil, tenu }) {
  if (tenu === null) return `Engagement de ${number(seuil)} % : pas encore mesuré.`;
  return tenu ? `Engagement de ${number(seuil)} % : tenu sur les 30 derniers jours.` : `Engagement de ${number(seuil)} % : non tenu sur les 30 derniers jours.`;
}

const badge = (state) => element("p", { class: `fr-badge fr-badge--${(STATES[state] ?? STATES.inconnu)[0]}` }, (STATES[state] ?? STATES.inconnu)[1]);
const rate = (value) => (value === null || value === undefined ? "pas encore mesurée" : `${number(value)} %`);

function colour({ sondes, reussies }) {
  if (!sondes) return "";
  const part = reussies / sondes;
  return part >= 0.99 ? "ap-good" : part >= 0.95 ? "ap-fair" : "ap-bad";
}

function days(history) {
  return element("ol", { class: "ap-days fr-raw-list", tabindex: "0", "aria-label": "Les 30 derniers jours" },
    ...history.map((found) => {
      const text = `${day(found.date)} : ${found.sondes ? `${number(found.reussies)} sondes réussies sur ${number(found.sondes)}` : "aucune sonde"}`;
      return element("li", { class: colour(found), title: text }, element("span", { class: "fr-sr-only" }, text));
    }));
}

function provider(name, found, history) {
  const checked = found.verifieA ? `Vérifié le ${moment(found.verifieA)}. ` : "";
  return element("section", { class: "fr-mb-6w" },
    element("h3", {}, PROVIDERS[name] ?? name), badge(found.etat),
    element("p", { class: "fr-mt-1w fr-mb-0" }, `${checked}Disponibilité sur 30 jours : ${rate(found.disponibilite30j)}.`),
    ...(history?.length ? [days(history)] : []));
}

const period = (found) => `${PROVIDERS[found.fournisseur] ?? found.fournisseur}, du ${moment(found.debut)} ${found.fin ? `au ${moment(found.fin)}` : "à maintenant"}`;

function list(id, items, none) {
  document.getElementById(id).replaceChildren(
    items.length ? element("ul", {}, ...items.map((found) => element("li", {}, found.message ? `${period(found)} : ${found.message}` : period(found)))) : element("p", {}, none));
}

const message = document.getElementById("message");
try {
  const status = await ask("api/status");
  tell(message, ...(OVERALL[status.etat] ?? ["info", "L’état du service n’est pas connu"]), `Le ${moment(status.genereA)}.`);
  document.getElementById("engagement").textContent = promise(status.engagement);
  document.getElementById("fournisseurs").replaceChildren(
    ...Object.entries(status.fournisseurs).map(([name, found]) => provider(name, found, status.historique?.[name])));
  fill(document.getElementById("jeux"), Object.entries(status.jeuxDeDonnees).map(([name, found]) =>
    [DATASETS[name] ?? name, badge(found.etat), rate(found.disponibilite30j)]));
  list("maintenances", status.maintenances ?? [], "Aucune maintenance n’est annoncée.");
  list("incidents", status.incidents ?? [], "Aucun incident sur les 30 derniers jours.");
  document.getElementById("etat").hidden = false;
} catch (error) {
  tell(message, "error", "L’état du service n’est pas disponible", error.message ?? "");
}
