"use strict";
// A cursor that tells the time under the pointer; everything else on the page works without it.
for (const drawing of document.querySelectorAll("svg.timeline")) {
  const left = Number(drawing.dataset.left), width = Number(drawing.dataset.width);
  const seconds = Number(drawing.dataset.seconds), bottom = Number(drawing.dataset.bottom);
  const make = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.style.display = "none";
    drawing.append(made);
    return made;
  };
  const cursor = make("line", { class: "cursor", y1: 16, y2: bottom });
  const time = make("text", { class: "cursor-time", y: bottom + 14, "text-anchor": "middle" });
  const show = (visible) => { cursor.style.display = time.style.display = visible ? "" : "none"; };
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * drawing.viewBox.baseVal.width;
    if (x < left || x > left + width) { show(false); return; }
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    time.setAttribute("x", Math.min(Math.max(x, left + 20), left + width - 20));
    time.textContent = `${((x - left) / width * seconds).toFixed(2)} s`;
    show(true);
  });
  drawing.addEventListener("pointerleave", () => show(false));
}
