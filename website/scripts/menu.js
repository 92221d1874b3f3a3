// DSFR's script serves the menu of small screens, and nothing else here: where the menu is a bar, it is not fetched.
const small = matchMedia("(max-width: 61.99em)");
const load = () => small.matches && import("./dsfr.js");
small.addEventListener("change", load);
load();
