// The keyboard. Never while typing, never with a modifier, never under an open dialog; no key decides alone.
import { $, $$ } from "./dom.js";

const GO = { h: "/", i: "/inbox", r: "/runs", f: "/flows", s: "/schedules", d: "/dead-letters", c: "/connections", y: "/system", l: "/audit", p: "/people" };
let pending = 0;

addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented) return;
  if (e.target.closest?.("input, textarea, select, [contenteditable=true]") || $("dialog[open]")) return;
  if (Date.now() < pending) { pending = 0; if (GO[e.key]) { e.preventDefault(); location.assign(GO[e.key]); } return; }
  if (e.key === "g") { pending = Date.now() + 900; return; }
  if (e.key === "?") { e.preventDefault(); $("#keys")?.showModal(); return; }
  if (e.key === "/") { e.preventDefault(); find(); return; }
  if (e.key === "j" || e.key === "k") { move(e.key === "j" ? 1 : -1); return; }
  if (e.key === "Escape") { $("[data-key=Escape]")?.click(); return; }
  if (!/^[a-z.[\]]$/.test(e.key)) return;
  const target = $$(`[data-key="${CSS.escape(e.key)}"]`).find((el) => el.getClientRects().length);
  if (target) { e.preventDefault(); target.click(); }
});

function find() {
  const field = $("main [data-find]") ?? $("#nav-search");
  field?.focus();
  field?.select?.();
}

// Letters act on what is open, so moving in a list with a detail pane opens the item too.
function move(by) {
  const items = $$("[data-list] [data-item]").filter((i) => i.getClientRects().length);
  if (!items.length) return;
  const focused = items.indexOf(document.activeElement);
  const at = focused >= 0 ? focused : items.findIndex((i) => i.getAttribute("aria-current") === "true");
  const next = items[Math.min(items.length - 1, Math.max(0, at + by))];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
  const list = next.closest("[data-list]");
  if (list.dataset.list === "open" && next.getAttribute("aria-current") !== "true") {
    items.forEach((i) => i.removeAttribute("aria-current"));
    next.setAttribute("aria-current", "true");
    next.click();
  }
}
