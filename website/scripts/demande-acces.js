// Who may ask, and a request to DataPass with what is known already: what it does not know, it ignores.
import { judge } from "./parts/page.js";

const who = document.getElementById("qui"), form = document.getElementById("demande"), ready = document.getElementById("prete");

function answer() {
  const kind = who.qui.value;
  for (const section of document.querySelectorAll("[data-qui]")) section.hidden = section.id !== kind;
  document.getElementById("preparer").hidden = !kind || kind === "particulier";
  document.getElementById("pour-editeur").hidden = kind !== "editeur";
  ready.hidden = true;
}

/** Tell whether the last digit is Luhn's key of the others. */
function hasKey(text) {
  const digits = [...text].map(Number).reverse();
  return digits.reduce((sum, digit, rank) => sum + (rank % 2 ? (2 * digit > 9 ? 2 * digit - 9 : 2 * digit) : digit), 0) % 10 === 0;
}

/** Tell whether a SIRET's key and its SIREN's are right; of La Poste's branches, five divides the sum of the digits. */
function isSiret(text) {
  if (!/^\d{14}$/.test(text) || !hasKey(text.slice(0, 9))) return false;
  if (!text.startsWith("356000000") || text === "35600000000048") return hasKey(text);
  return [...text].reduce((sum, digit) => sum + Number(digit), 0) % 5 === 0;
}

const NO_SIRET = "Ce numéro n’est pas un SIRET : il a 14 chiffres, dont le dernier est une clé.";
const digits = (field) => field.value.replace(/\s/g, "");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ready.hidden = true;
  const vendor = who.qui.value === "editeur", justification = form.justification.value.trim();
  const rules = [
    [form.usage, form.usage.value ? "" : "Choisissez une démarche."],
    [form.siret, isSiret(digits(form.siret)) ? "" : NO_SIRET],
    ...(vendor ? [
      [form.siretEditeur, isSiret(digits(form.siretEditeur)) ? "" : NO_SIRET],
      [form.justification, justification ? "" : "Justifiez votre demande : elle est instruite sur ce texte."],
    ] : []),
  ];
  const wrong = rules.filter(([field, message]) => !judge(field, message));
  if (wrong.length) return wrong[0][0].focus();
  const usage = form.usage.selectedOptions[0], link = document.getElementById("datapass");
  document.getElementById("intitule").textContent = usage.textContent;
  for (const list of document.querySelectorAll("[data-usage]")) list.hidden = list.dataset.usage !== usage.value;
  const answers = { demandeur: who.qui.value, siret: digits(form.siret), intitule: usage.textContent, scopes: usage.dataset.scopes };
  const more = vendor ? { siret_editeur: digits(form.siretEditeur), justification } : {};
  link.search = new URLSearchParams({ ...answers, ...more });
  ready.hidden = false;
  document.getElementById("titre-prete").focus();
});

who.addEventListener("change", answer);
form.querySelector("[type=submit]").disabled = false;
answer();
