"use strict";
// Says where a table goes on beyond its box, for readers who see no scroll bar.
(() => {
  for (const box of document.querySelectorAll(".scroll")) {
    const hint = document.createElement("p");
    hint.className = "sideways";
    hint.textContent = "More columns: scroll the table sideways →";
    hint.setAttribute("aria-hidden", "true");
    hint.hidden = true;
    const frame = document.createElement("div");
    frame.className = "scroll-frame";
    box.replaceWith(hint, frame);
    frame.append(box);

    const say = () => {
      const beyond = box.scrollWidth - box.clientWidth;
      const left = box.scrollLeft > 1 ? "left " : "";
      const right = box.scrollLeft < beyond - 1 ? "right" : "";
      frame.dataset.more = beyond > 1 ? left + right : "";
      hint.hidden = beyond <= 1;
    };
    box.addEventListener("scroll", say, { passive: true });
    new ResizeObserver(say).observe(box);
    new ResizeObserver(say).observe(box.firstElementChild);
  }
})();
