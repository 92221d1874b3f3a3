// Who may ask, and a request to DataPass with what is known already: what it does not know, it ignores.
import { element, judge } from "./parts/page.js";

const DATAPASS = "https://signup.api.gouv.fr/api-particulier";
const RFR = "Le revenu fiscal de référence", PARTS = "Le nombre de parts", QF = "Le quotient familial";
const USES = {
  "restauration-scolaire": { dgfip_revenu_fiscal_reference: RFR, dgfip_nombre_parts: PARTS, cnaf_quotient_familial: QF },
  "activite-periscolaire": { dgfip_revenu_fiscal_reference: RFR, dgfip_nombre_parts: PARTS, cnaf_quotient_familial: QF },
  "petite-enfance": { dgfip_revenu_fiscal_reference: RFR, cnaf_quotient_familial: QF, cnaf_enfants: "Les enfants de la famille" },
  "pass-famille": { cnaf_quotient_familial: QF, cnaf_enfants: "Les enfants de la famille", cnaf_adresse: "L’adresse connue de la CAF" },
  ccas: { dgfip_revenu_fiscal_reference: RFR, dgfip_nombre_personnes_a_charge: "Le nombre de personnes à charge", cnaf_quotient_familial: QF },
};

const who = document.getElementById("qui"), form = document.getElementById("demande"), ready = document.getElementById("prete");

function answer() {
  const kind = who.qui.value;
  for (const section of document.querySelectorAll("[data-qui]")) section.hidden = section.id !== kind;
  document.getElementById("preparer").hidden = !kind || kind === "particulier";
  ready.hidden = true;
}

/** Tell whether the last digit is Luhn's key of the others. */
function hasKey(text) {
  const digits = [...text].map(Number).reverse();
  return digits.reduce((sum, one, rank) => sum + (rank % 2 ? (2 * one > 9 ? 2 * one - 9 : 2 * one) : one), 0) % 10 === 0;
}

/** Tell whether a SIRET's key and its SIREN's are right; of La Poste's branches, five divides the sum of the digits. */
function isSiret(text) {
  if (!/^\d{14}$/.test(text) || !hasKey(text.slice(0, 9))) return false;
  if (!text.startsWith("356000000") || text === "35600000000048") return hasKey(text);
  return [...text].reduce((sum, one) => sum + Number(one), 0) % 5 === 0;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ready.hidden = true;
  const siret = form.siret.value.replace(/\s/g, ""), scopes = USES[form.usage.value];
  const chosen = judge(form.usage, scopes ? "" : "Choisissez une démarche.");
  const known = judge(form.siret, isSiret(siret) ? "" : "Ce numéro n’est pas un SIRET : il a 14 chiffres, dont le dernier est une clé.");
  if (!chosen || !known) return (chosen ? form.siret : form.usage).focus();
  const title = form.usage.selectedOptions[0].textContent;
  document.getElementById("intitule").textContent = title;
  document.getElementById("donnees").replaceChildren(...Object.values(scopes).map((name) => element("li", {}, name)));
  const answers = { demandeur: who.qui.value, siret, intitule: title, scopes: Object.keys(scopes).join(",") };
  document.getElementById("datapass").href = `${DATAPASS}?${new URLSearchParams(answers)}`;
  ready.hidden = false;
  document.getElementById("titre-prete").focus();
});

who.addEventListener("change", answer);
form.querySelector("[type=submit]").disabled = false;
answer();
