"use strict";
// Nothing here is needed to read the page: without it, everything is shown, one below the other.
for (const choice of document.querySelectorAll(".choice")) {
  const options = [...choice.children].filter((child) => child.classList.contains("option"));
  if (options.length < 2) continue;
  const select = document.createElement("select");
  const names = options.map((option) => option.dataset.name);
  if (choice.dataset.all) names.push(choice.dataset.all);
  for (const name of names) select.add(new Option(name));
  const show = () => {
    const all = select.selectedIndex >= options.length;
    options.forEach((option, n) => {
      option.hidden = !all && n !== select.selectedIndex;
      const title = option.querySelector(":scope > .title, :scope > .floor");
      if (title) title.hidden = !all;
    });
  };
  select.addEventListener("change", show);
  if (choice.dataset.all) select.selectedIndex = options.length;
  const label = document.createElement("label");
  label.className = "pick";
  label.append(choice.dataset.label, select);
  choice.prepend(label);
  show();
}

// Titles of marks at once and beside the pointer, instead of after a while.
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);
let shown = null;
const hide = () => {
  if (shown) shown.mark.append(shown.title);
  shown = null;
  tip.hidden = true;
};
document.addEventListener("mouseover", (event) => {
  hide();
  const mark = event.target;
  const title = mark instanceof SVGElement && mark.querySelector(":scope > title");
  if (!title) return;
  tip.textContent = title.textContent;
  title.remove();
  shown = { mark, title };
  tip.hidden = false;
});
document.addEventListener("mousemove", (event) => {
  if (!shown) return;
  const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
  const below = event.clientY + 16;
  const top = below + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : below;
  tip.style.left = `${left}px`;
  tip.style.top = `${top}px`;
});
document.addEventListener("mouseleave", hide);

const theme = document.createElement("button");
theme.className = "theme";
theme.type = "button";
const root = document.documentElement;
const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
const name = () => (theme.textContent = dark() ? "light" : "dark");
theme.addEventListener("click", () => {
  root.dataset.theme = dark() ? "light" : "dark";
  name();
});
name();
document.querySelector("header").append(theme);
