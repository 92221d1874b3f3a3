// What the pages' scripts share: elements, questions to the API, words and dates in French.

/** Make an element of `tag`, with its attributes and what it holds (texts or elements). */
export function element(tag, attributes = {}, ...content) {
  const svg = ["svg", "rect", "line", "text", "title", "desc"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...content);
  return made;
}

/** An answer of the API that is an error: `status`, the API's own `message`, and `retryAfter` in seconds or null. */
export class Refusal extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** Ask the API and return its JSON; throws a `Refusal`, of status 0 when nothing answers. */
export async function ask(path) {
  let answer;
  try {
    answer = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store" });
    const body = await answer.json();
    if (answer.ok) return body;
    throw new Refusal(answer.status, body.message, answer.headers.get("Retry-After"));
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal(answer?.status ?? 0, "Le service ne répond pas, veuillez réessayer.", null);
  }
}

export const number = (value) => new Intl.NumberFormat("fr-FR").format(value);
export const day = (date, style = "long") =>
  new Intl.DateTimeFormat("fr-FR", { dateStyle: style, timeZone: "UTC" }).format(new Date(`${date}T00:00:00Z`));
export const moment = (date) =>
  new Intl.DateTimeFormat("fr-FR", { dateStyle: "long", timeStyle: "short", timeZone: "Europe/Paris" }).format(
    new Date(date),
  );

export const PROVIDERS = { dgfip: "DGFIP (données fiscales)", caf: "CAF (données familiales)", dss: "API-SECU (CNAF et MSA, par l’identité)" };

/** Fill a table's body: a row for each list of cells, the first of which names it; a cell also has its column's name. */
export function fill(table, rows) {
  const columns = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
  table.tBodies[0].replaceChildren(
    ...rows.map(([first, ...others]) =>
      element("tr", {}, element("th", { scope: "row" }, first),
        ...others.map((cell, index) => element("td", { "data-label": columns[index] }, cell))),
    ),
  );
}

/** Return the data that a page holds in JSON, in the element `id`. */
export const data = (id) => JSON.parse(document.getElementById(id).textContent);

/** Show a message of DSFR in `place`: `kind` is error, info, success or warning. */
export function tell(place, kind, title, text) {
  place.replaceChildren(
    element("div", { class: `fr-alert fr-alert--${kind}` }, element("h3", { class: "fr-alert__title" }, title), element("p", {}, text)),
  );
}

/** Say under a field what is wrong with it, or nothing when it is right; returns whether it is right. */
export function judge(field, wrong) {
  const group = field.closest(".fr-input-group, .fr-select-group");
  const messages = document.getElementById(field.getAttribute("aria-describedby").split(" ").at(-1));
  group.classList.toggle("fr-input-group--error", Boolean(wrong));
  field.toggleAttribute("aria-invalid", Boolean(wrong));
  messages.replaceChildren(...(wrong ? [element("p", { class: "fr-message fr-message--error" }, wrong)] : []));
  return !wrong;
}
