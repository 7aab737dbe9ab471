"use strict";
// The page reads well without this script; it adds the sliders, the enlarged view and the copy buttons.
const picture = (pair, kind) => pair.querySelector(`.zoom[data-kind="${kind}"] img`).src;

for (const figure of document.querySelectorAll(".comparison")) {
  const pair = figure.closest(".pair"), box = figure.querySelector(".compare"), range = box.querySelector("input");
  const buttons = [...figure.querySelectorAll("figcaption button")];
  const choose = (button) => {
    const { over, under } = button.dataset;
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    box.querySelector(".over").src = picture(pair, over);
    box.querySelector(".under").src = picture(pair, under);
    box.querySelector(".left").textContent = over;
    box.querySelector(".right").textContent = under;
    move();
  };
  const move = () => {
    box.style.setProperty("--split", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${range.value} % ${box.querySelector(".left").textContent}`);
  };
  range.addEventListener("input", move);
  for (const button of buttons) button.addEventListener("click", () => choose(button));
  choose(buttons[0]);
  figure.hidden = false;
}

const large = document.getElementById("large");
for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => {
    const { src, alt } = button.querySelector("img");
    Object.assign(large.querySelector("img"), { src, alt });
    large.querySelector("p").textContent = alt;
    large.showModal();
  });
}
large.addEventListener("click", (event) => { if (event.target === large) large.close(); });

const copied = async (code) => {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return "Copied";
  } catch {
    getSelection().selectAllChildren(code); // no clipboard for this page: leave the text selected for Ctrl+C
    return "Selected";
  }
};
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const said = await copied(button.previousElementSibling);
    button.textContent = said;
    document.getElementById("said").textContent = said;
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  });
}
