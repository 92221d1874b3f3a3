// A citizen's log: the numbers go to the API, by this script alone, and nowhere else.
import { DATASETS, ask, day, element, fill, judge, moment, number, tell } from "./parts/page.js";

const form = document.getElementById("demande"), message = document.getElementById("message"), result = document.getElementById("resultat");
const RULES = {
  numeroFiscal: [/^\d{13}$/, "Le numéro fiscal a 13 chiffres."],
  referenceAvis: [/^[0-9A-Za-z]{13,14}$/, "La référence de l’avis a 13 ou 14 lettres ou chiffres."],
  numeroAllocataire: [/^\d{1,7}[A-Za-z]?$/, "Le numéro d’allocataire a 7 chiffres."],
  codePostal: [/^\d{5}$/, "Le code postal a 5 chiffres."],
};

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
    show(await ask(`api/citoyen/acces?${new URLSearchParams(asked().map((field) => [field.name, typed(field)]))}`));
  } catch (error) {
    refuse(error);
  }
});

function show({ periode, total, acces }) {
  const times = total === 0 ? "Aucune consultation" : total === 1 ? "Une consultation" : `${number(total)} consultations`;
  document.getElementById("resume").textContent = `${times}, du ${day(periode.debut)} au ${day(periode.fin)}.`;
  document.getElementById("tableau").hidden = acces.length === 0;
  fill(document.getElementById("acces"), acces.map((one) => [
    moment(one.date),
    `${one.administration} (SIRET ${one.siret})`,
    one.finalite ?? "Non précisé",
    element("div", {}, DATASETS[one.jeuDeDonnees] ?? one.jeuDeDonnees,
      ...(one.champs.length ? [element("ul", { class: "fr-text--xs fr-mb-0" }, ...one.champs.map((name) => element("li", {}, name)))] : [])),
    one.statut === 200 ? "Données transmises" : `Rien n’a été transmis (${one.statut})`,
  ]));
  result.hidden = false;
  document.getElementById("titre-resultat").focus();
}

function refuse(error) {
  if (error.status === 404) tell(message, "warning", "Ces numéros ne correspondent à aucun dossier", "Vérifiez-les sur votre avis d’imposition ou sur un courrier de la CAF, puis réessayez.");
  else if (error.status === 429) tell(message, "warning", "Trop de demandes", `Réessayez dans ${Math.max(1, Math.ceil((error.retryAfter ?? 60) / 60))} min.`);
  else tell(message, "error", "La demande n’a pas abouti", error.message);
}

form.querySelector("[type=submit]").disabled = false; // without this script the browser would put the numbers in an address
