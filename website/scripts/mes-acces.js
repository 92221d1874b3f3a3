// A citizen's log: the numbers go to the API, by this script alone, and nowhere else.
import { ask, data, day, element, fill, judge, moment, number, tell } from "./parts/page.js";

const form = document.getElementById("demande"), message = document.getElementById("message"), result = document.getElementById("resultat");
const more = document.getElementById("suite");
let shown = [];
const RULES = {
  numeroFiscal: [/^\d{13}$/, "Le numéro fiscal a 13 chiffres."],
  referenceAvis: [/^[0-9A-Za-z]{13,14}$/, "La référence de l’avis a 13 ou 14 lettres ou chiffres."],
  numeroAllocataire: [/^\d{1,7}[A-Za-z]?$/, "Le numéro d’allocataire a 7 chiffres."],
  codePostal: [/^\d{5}$/, "Le code postal a 5 chiffres."],
};

const FIELDS = data("champs"), NAMES = { ...data("noms-jeux"), operator: "La liste de vos consultations" };

/** Name in French what was released: fields of one scope have one name. */
const released = (access) => [...new Set(access.champs.map((field) => FIELDS[access.jeuDeDonnees]?.[field] ?? field))];

/** Say what became of a consultation, for a reader who does not know HTTP. */
function outcome(status) {
  if (status === 200) return "Données transmises";
  if (status === 404) return "Rien n’a été transmis : le dossier n’a pas été trouvé";
  if (status === 401 || status === 403 || status === 429) return "Rien n’a été transmis : la consultation a été refusée";
  return status < 500 ? "Rien n’a été transmis : la demande était incorrecte" : "Rien n’a été transmis : le service ne répondait pas";
}

const purpose = ({ finalite, accord }) =>
  [finalite ?? "Non précisé", ...(accord ? [`avec votre accord nº ${accord}`] : [])].join(", ");

const asked = () => [...form.querySelectorAll(`[data-par="${form.par.value}"] input`)];
const typed = (field) => field.value.replace(/\s/g, "");

form.addEventListener("change", () => {
  for (const part of form.querySelectorAll("[data-par]")) part.hidden = part.dataset.par !== form.par.value;
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const wrong = asked().filter((field) => !judge(field, RULES[field.name][0].test(typed(field)) ? "" : RULES[field.name][1]));
  message.replaceChildren();
  result.hidden = true;
  if (wrong.length) return wrong[0].focus();
  try {
    show(await page());
  } catch (error) {
    refuse(error);
  }
});

more.addEventListener("click", async () => {
  more.disabled = true;
  try {
    show(await page(more.dataset.suivant), true);
  } catch (error) {
    refuse(error);
  }
  more.disabled = false;
});

function page(suivant) {
  const numbers = asked().map((field) => [field.name, typed(field)]);
  return ask(`api/citoyen/acces?${new URLSearchParams(suivant ? [...numbers, ["suivant", suivant]] : numbers)}`);
}

function show({ periode, total, acces, suivant }, continued = false) {
  const times = total === 0 ? "Aucune consultation" : total === 1 ? "Une consultation" : `${number(total)} consultations`;
  document.getElementById("resume").textContent = `${times}, du ${day(periode.debut)} au ${day(periode.fin)}.`;
  shown = continued ? [...shown, ...acces] : acces;
  document.getElementById("tableau").hidden = shown.length === 0;
  fill(document.getElementById("acces"), shown.map((access) => [
    access.nombre > 1 ? `${moment(access.date)}, et ${number(access.nombre - 1)} fois de plus ce jour-là` : moment(access.date),
    access.siret ? `${access.administration} (SIRET ${access.siret})` : access.administration,
    purpose(access),
    element("div", {}, NAMES[access.jeuDeDonnees] ?? access.jeuDeDonnees,
      ...(access.champs.length ? [element("ul", { class: "fr-text--xs fr-mb-0" }, ...released(access).map((name) => element("li", {}, name)))] : [])),
    outcome(access.statut),
  ]));
  more.hidden = !suivant;
  more.dataset.suivant = suivant ?? "";
  result.hidden = false;
  if (!continued) document.getElementById("titre-resultat").focus();
}

function refuse(error) {
  if (error.status === 404) tell(message, "warning", "Ces numéros ne correspondent à aucun dossier", "Vérifiez-les sur votre avis d’imposition ou sur un courrier de la CAF, puis réessayez.");
  else if (error.status === 429) tell(message, "warning", "Trop de demandes", `Réessayez dans ${Math.max(1, Math.ceil((error.retryAfter ?? 60) / 60))} min.`);
  else tell(message, "error", "La demande n’a pas abouti", error.message);
}

form.querySelector("[type=submit]").disabled = false; // without this script the browser would put the numbers in an address
