// A button that copies a text, beside the text.

/** Put a "Copier" button after `place`, for the text of `source`. */
export function offerCopy(place, source) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "fr-btn fr-btn--sm fr-btn--tertiary fr-mt-1w fr-mb-3w", textContent: "Copier" });
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copié";
  });
  place.after(button);
}
