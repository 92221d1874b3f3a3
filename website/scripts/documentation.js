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

/** Name what the viewer leaves without a name, or names otherwise than it shows. */
function name() {
  for (const one of reference.querySelectorAll(".examples-select-element:not([aria-label])")) one.setAttribute("aria-label", "Exemple");
  for (const one of reference.querySelectorAll(".close-modal:not([aria-label])")) one.setAttribute("aria-label", "Fermer");
  for (const one of reference.querySelectorAll(".modal-btn[aria-label]")) one.removeAttribute("aria-label");
}

const reference = document.getElementById("reference");
new MutationObserver(name).observe(reference, { childList: true, subtree: true });

SwaggerUI({
  url: "documentation-open-api.yaml",
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
