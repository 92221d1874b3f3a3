// The number of the catalogue: answers of the last 30 days.
const shown = document.getElementById("nombre");
try {
  const answer = await fetch("api/stats");
  if (!answer.ok) throw new Error(answer.status);
  shown.textContent = new Intl.NumberFormat("fr-FR").format(await answer.json());
} catch {
  shown.textContent = "—";
}
