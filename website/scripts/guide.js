// The programs of a guide: those that do the same in several languages are tabs, and each can be copied.
import { offerCopy } from "./parts/copy.js";
import { element } from "./parts/page.js";

const isProgram = (node) => node?.matches("pre[data-langage]");

function tabs(programs) {
  const list = element("div", { class: "ap-tabs", role: "tablist", "aria-label": "Langage du programme" });
  const panels = programs.map((program, index) => {
    const id = `${program.dataset.langage}-${index}`.toLowerCase();
    const tab = element("button", { type: "button", class: "fr-tag", role: "tab", id: `onglet-${id}`, "aria-controls": id }, program.dataset.langage);
    const panel = element("div", { role: "tabpanel", id, "aria-labelledby": tab.id });
    list.append(tab);
    return [tab, panel];
  });
  const choose = (chosen) => {
    for (const [tab, panel] of panels) {
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      panel.hidden = tab !== chosen;
    }
  };
  list.addEventListener("click", (event) => event.target.matches("[role=tab]") && choose(event.target));
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const all = panels.map(([tab]) => tab), next = all.at((all.indexOf(event.target) + step) % all.length);
    choose(next);
    next.focus();
  });
  programs[0].before(list, ...panels.map(([, panel]) => panel));
  panels.forEach(([, panel], index) => panel.append(programs[index]));
  choose(panels[0][0]);
}

const first = [...document.querySelectorAll("pre[data-langage]")].filter((program) => !isProgram(program.previousElementSibling));
for (const program of first) {
  const group = [program];
  while (isProgram(group.at(-1).nextElementSibling)) group.push(group.at(-1).nextElementSibling);
  if (group.length > 1) tabs(group);
}
for (const program of document.querySelectorAll("pre:is([data-langage], :has(.language-sh), :has(.language-shell))")) offerCopy(program, program);
