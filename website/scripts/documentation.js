// The viewer of the API's own description; its questions go to the API that serves this page, whatever the document names.
import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";

const here = new URL(".", location.href).href.replace(/\/$/, "");

const HereOnly = () => ({
  statePlugins: { spec: { wrapActions: { updateJsonSpec: (update) => (spec) => update({ ...spec, servers: [{ url: here }] }) } } },
});

SwaggerUI({
  url: "documentation-open-api.yaml",
  dom_id: "#reference",
  plugins: [HereOnly],
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: -1,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
