// The few helpers the modules share.
export const $ = (sel, root = document) => root.querySelector(sel);
export const $$ = (sel, root = document) => [...root.querySelectorAll(sel)];

/** A short message at the bottom start. Errors stay until they are closed. */
export function toast(text, tone = "ok") {
  const el = document.createElement("div");
  el.className = "toast";
  el.dataset.tone = tone;
  el.append(icon(tone === "fail" ? "s-failed" : "s-succeeded"), Object.assign(document.createElement("p"), { textContent: text }));
  $(".toasts")?.append(el);
  settle(el);
}

/** Gives a toast its end: six seconds, or a button to close it. */
export function settle(el) {
  if (el.dataset.tone !== "fail") { setTimeout(() => el.remove(), 6000); return; }
  const close = Object.assign(document.createElement("button"), { type: "button", className: "btn btn--ghost btn--icon btn--small", ariaLabel: "Close" });
  close.append(icon("x"));
  close.addEventListener("click", () => el.remove());
  el.append(close);
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${name}`);
  svg.append(use);
  return svg;
}
