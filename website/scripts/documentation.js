// The viewer of the API's own description; its questions go to the API that serves this page, whatever the document names.
import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";

const here = new URL(".", location.href).href.replace(/\/$/, "");

/** The viewer inside our page: no second landmark nor title, and one server, this one. */
const InThisPage = ({ React }) => ({
  components: {
    Reference: ({ getComponent }) => {
      const part = (name) => React.createElement(getComponent(name, true), { key: name });
      const inner = ["SvgAssets", "errors", "AuthorizeBtnContainer", "operations"].map(part);
      return React.createElement("div", { className: "swagger-ui" }, inner);
    },
  },
  statePlugins: {
    spec: { wrapActions: { updateJsonSpec: (update) => (spec) => update({ ...spec, servers: [{ url: here }] }) } },
  },
});

const FRENCH = {
  Authorize: "S’identifier", Logout: "Oublier la clé", Close: "Fermer", Cancel: "Annuler", Clear: "Effacer",
  "Available authorizations": "Clé d’accès", "Value:": "Valeur :", "Name:": "Nom :", "In:": "Dans :", "Authorized": "Clé donnée",
  Parameters: "Paramètres", "No parameters": "Aucun paramètre", Name: "Nom", Examples: "Exemples", "Examples:": "Exemples :",
  Responses: "Réponses", Links: "Liens", "No links": "Aucun lien", "Media type": "Format", "Headers:": "En-têtes :",
  "Example Value": "Exemple", Schema: "Schéma", Execute: "Interroger", "Try it out": "Essayer", "Request body": "Corps de la requête",
  "Request URL": "Adresse interrogée", "Server response": "Réponse du serveur", "Response body": "Corps de la réponse",
  "Response headers": "En-têtes de la réponse", "Request duration": "Durée", Details: "Détails", Undocumented: "Non documenté",
  Download: "Télécharger", "(query)": "(dans l’adresse)", "(header)": "(en-tête)", Reset: "Rétablir", "Reset ": "Rétablir ",
  "Controls ": "Choisit l’en-tête ", " header.": ".", required: "obligatoire", "(no example available)": "(pas d’exemple)",
};

/** Put in French the words of the viewer; the texts of the document are in French already. */
function translate(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const word = FRENCH[node.nodeValue] ?? FRENCH[node.nodeValue.trim()];
    if (word && !node.parentElement.closest("pre, code")) node.nodeValue = word;
  }
}

/** Name what the viewer leaves without a name, or names otherwise than it shows. */
function name() {
  for (const found of reference.querySelectorAll(".examples-select-element:not([aria-label])")) found.setAttribute("aria-label", "Exemple");
  for (const found of reference.querySelectorAll(".close-modal:not([aria-label])")) found.setAttribute("aria-label", "Fermer");
  for (const found of reference.querySelectorAll("pre:not([tabindex])")) found.setAttribute("tabindex", 0); // it may scroll
  translate(reference);
  for (const found of reference.querySelectorAll(".modal-btn[aria-label]")) found.removeAttribute("aria-label");
}

const reference = document.getElementById("reference");
new MutationObserver(name).observe(reference, { childList: true, characterData: true, subtree: true });

SwaggerUI({
  url: "documentation-open-api.yaml",
  onComplete: () => {
    document.getElementById("chargement").hidden = true;
    reference.hidden = false; // before, the viewer says in English that it has nothing to show
  },
  domNode: reference,
  plugins: [InThisPage],
  layout: "Reference",
  docExpansion: "list",
  defaultModelsExpandDepth: -1,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  syntaxHighlight: false, // its colours on black cannot be read by all
  validatorUrl: null,
});
