// What a swap must not take away: work in hand, focus, scrolling, the open tab.
import { $, $$ } from "./dom.js";
import { showTab } from "./ui.js";

const TYPING = "input:not([type=search]), textarea, select, [contenteditable=true]";

/** Is somebody working inside this element? */
export function held(el) {
  if ($("dialog[open], form[data-dirty]", el)) return true;
  const active = document.activeElement;
  return active !== null && el.contains(active) && active.matches(TYPING);
}

/** Offers the newer version of an element that was not swapped. Returns nothing; asks again only when pressed. */
export function banner(el, accept) {
  if ($(":scope > [data-newer]", el)) return;
  const box = Object.assign(document.createElement("div"), { className: "callout", role: "status" });
  box.dataset.tone = "run";
  box.dataset.newer = "";
  const text = Object.assign(document.createElement("div"), { textContent: "This changed while you were working here." });
  const button = Object.assign(document.createElement("button"), { type: "button", className: "btn btn--small", textContent: "Show the change" });
  button.addEventListener("click", accept);
  box.append(text, button);
  el.prepend(box);
}

const END = 24; // pixels from its end at which a reader is still taken to follow

/** Shows the end of what grows, but for those whose reader scrolled up. */
export const follow = (up = []) => $$("[data-tail]").forEach((t) => { if (!up.includes(t.id)) t.scrollTop = t.scrollHeight; });

/** Remembers focus, scroll positions, open details and tabs by id; gives the function that puts them back. */
export function keep(el) {
  const inside = [el, ...$$("[id]", el)];
  const scrolls = inside.filter((x) => x.id && (x.scrollTop || x.scrollLeft)).map((x) => [x.id, x.scrollTop, x.scrollLeft]);
  const open = $$("details[id]", el).map((d) => [d.id, d.open]);
  const tabs = $$("[role=tab][aria-selected=true]", el).map((t) => t.id);
  const up = $$("[data-tail]").filter((t) => t.scrollTop + t.clientHeight < t.scrollHeight - END).map((t) => t.id);
  const focus = el.contains(document.activeElement) ? document.activeElement.id : "";
  return () => {
    open.forEach(([id, was]) => { const d = document.getElementById(id); if (d) d.open = was; });
    tabs.forEach((id) => { const t = document.getElementById(id); if (t && t.getAttribute("aria-selected") !== "true") showTab(t); });
    scrolls.forEach(([id, top, left]) => document.getElementById(id)?.scrollTo({ top, left, behavior: "instant" }));
    follow(up);
    if (focus && document.activeElement === document.body) document.getElementById(focus)?.focus({ preventScroll: true });
  };
}
