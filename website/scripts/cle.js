// The link's secret is after `#`: it is sent when the person asks for the key, and not before.
const secret = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
const button = document.getElementById("montrer"), shown = document.getElementById("cle");

button.addEventListener("click", async () => {
  button.disabled = true;
  try {
    const answer = await fetch(location.pathname, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ lien: secret }),
    });
    const said = await answer.json();
    shown.textContent = answer.ok ? said.cle : said.message;
    button.hidden = answer.ok || answer.status === 410;
  } catch {
    shown.textContent = "Le service ne répond pas, veuillez réessayer.";
  }
  button.disabled = false;
});
