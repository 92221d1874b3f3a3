// The link's secret is after `#`: it is sent when the person asks for the key, and not before.
import { offerCopy } from "./parts/copy.js";

const NO_SECRET = "L’adresse de cette page est incomplète : ouvrez le lien du courriel en entier, jusqu’à son dernier caractère. " +
  "Si la clé a déjà été affichée, elle ne peut pas l’être une seconde fois : demandez un nouveau lien à la personne qui suit votre demande d’accès.";
const button = document.getElementById("montrer"), key = document.getElementById("cle"), message = document.getElementById("message");
let secret = location.hash.slice(1);
// If the answer is lost, the service recognises this page, and gives it another key.
const opener = crypto.randomUUID();

/** Take what follows `#` out of the address once it has been used: a reload cannot ask again by mistake. */
const forget = () => history.replaceState(null, "", location.pathname);

function read() {
  const complete = /^[\w-]{43}$/.test(secret);
  button.hidden = !complete;
  message.textContent = complete ? "" : NO_SECRET;
}

async function show() {
  if (key.textContent || button.disabled) return;
  button.disabled = true;
  message.textContent = "";
  try {
    const response = await fetch(location.pathname, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ lien: secret, ouvreur: opener }),
    });
    const body = await response.json();
    if (response.ok) {
      key.textContent = body.cle;
      message.textContent = "Copiez-la maintenant : cette page ne la montrera plus une fois fermée.";
      offerCopy(key, key);
    } else message.textContent = response.status === 400 ? NO_SECRET : body.message;
    button.hidden = response.ok || [400, 404, 410].includes(response.status);
    if (button.hidden) forget();
  } catch {
    message.textContent = "Le service ne répond pas, veuillez réessayer.";
  }
  button.disabled = false;
}

button.addEventListener("click", show);
addEventListener("hashchange", () => {
  if (key.textContent) return;
  secret = location.hash.slice(1);
  read();
});
read();
