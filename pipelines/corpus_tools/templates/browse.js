"use strict";
// Without this script the page shows every column of every sample; it adds choosing, laying over, searching, enlarging.
const grid = document.querySelector(".grid"), cards = [...document.querySelectorAll(".card")];
const large = document.getElementById("large"), find = document.getElementById("find"), split = document.getElementById("split");
const stacks = () => document.querySelectorAll(".stack");
const state = { view: "all", over: new Set(), opacity: 60, shown: cards, card: null };

const draw = () => {
  const single = state.view !== "all";
  grid.classList.toggle("single", single);
  for (const stack of stacks()) {
    stack.classList.toggle("single", single);
    stack.style.setProperty("--over", state.opacity / 100);
    for (const layer of stack.children) {
      const column = layer.dataset.column;
      layer.classList.toggle("on", column === state.view);
      layer.classList.toggle("laid", single && column !== state.view && state.over.has(column));
    }
  }
  for (const button of document.querySelectorAll("[data-view]")) button.setAttribute("aria-pressed", String(button.dataset.view === state.view));
  for (const box of document.querySelectorAll("[data-over]")) box.checked = state.over.has(box.dataset.over);
  for (const range of document.querySelectorAll("[data-opacity]")) range.value = state.opacity;
};

const choose = (view) => { state.view = view; draw(); };
const layOver = (column, on) => {
  if (on) state.over.add(column); else state.over.delete(column);
  if (on && (state.view === "all" || state.view === column)) state.view = "0"; // there must be something below it
  draw();
};

const search = () => {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const card of cards) {
    card.hidden = !(words.every((word) => card.dataset.words.includes(word)) && (!split.value || card.dataset.split === split.value));
  }
  state.shown = cards.filter((card) => !card.hidden);
  document.getElementById("shown").textContent = `${state.shown.length} of ${cards.length}`;
};

const open = (card) => {
  state.card = card;
  const stack = large.querySelector(".body .stack"), source = card.querySelector(".stack");
  stack.replaceChildren(...[...source.children].map((layer) => layer.cloneNode(true)));
  large.querySelector(".facts").replaceChildren(...[...card.querySelector(".facts").children].map((fact) => fact.cloneNode(true)));
  draw();
  if (!large.open) large.showModal();
};
const step = (by) => {
  const { shown, card } = state, at = shown.indexOf(card);
  if (shown.length) open(shown[(at + by + shown.length) % shown.length]);
};

for (const bar of document.querySelectorAll(".bar, .controls")) bar.hidden = false;
for (const button of document.querySelectorAll("[data-view]")) button.addEventListener("click", () => choose(button.dataset.view));
for (const box of document.querySelectorAll("[data-over]")) box.addEventListener("change", () => layOver(box.dataset.over, box.checked));
for (const range of document.querySelectorAll("[data-opacity]")) range.addEventListener("input", () => { state.opacity = Number(range.value); draw(); });
for (const card of cards) card.querySelector(".stack").addEventListener("click", () => open(card));
for (const button of document.querySelectorAll("[data-step]")) button.addEventListener("click", () => step(Number(button.dataset.step)));
find.addEventListener("input", search);
split.addEventListener("change", search);
large.addEventListener("click", (event) => { if (event.target === large) large.close(); });
large.addEventListener("close", () => state.card?.querySelector(".stack").focus());
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input[type=search], select, input[type=range]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (large.open && event.key === "ArrowLeft") step(-1);
  else if (large.open && event.key === "ArrowRight") step(1);
  else if (event.key === "0") choose("all");
  else if (/^[1-9]$/.test(event.key) && Number(event.key) <= Number(grid.dataset.columns)) choose(String(Number(event.key) - 1));
  else if (event.key === "/" && !large.open) { event.preventDefault(); find.focus(); }
});
search();
