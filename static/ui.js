// Theme, dialogs, confirmations, tabs, copying, toasts, times that tick. All by delegation: swapped-in HTML just works.
import { $, $$, settle, toast } from "./dom.js";

const html = document.documentElement;

document.addEventListener("click", (e) => {
  // A blocked button stays focusable and says why (aria-describedby); it just does nothing.
  if (e.target.closest("[aria-disabled=true]")) { e.preventDefault(); e.stopImmediatePropagation(); }
}, true);

document.addEventListener("click", (e) => {
  const hit = (sel) => e.target.closest(sel);
  if (hit("[data-theme-toggle]")) toggleTheme();
  const copy = hit("[data-copy]");
  if (copy) copyText(copy.dataset.copy);
  const tab = hit("[role=tab]");
  if (tab) { e.preventDefault(); showTab(tab); }
  const chip = hit("[data-toggle]");
  if (chip) chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
  const opener = hit("[data-panel]");
  if (opener) { const p = document.getElementById(opener.dataset.panel); if (p) p.hidden = !p.hidden; }
  if (!("commandForElement" in HTMLButtonElement.prototype)) command(hit("[commandfor]"));
});

function toggleTheme() {
  const dark = html.dataset.theme ? html.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  html.dataset.theme = dark ? "light" : "dark";
  document.cookie = `theme=${html.dataset.theme}; path=/; max-age=31536000; samesite=lax`;
}

async function copyText(text) {
  try { await navigator.clipboard.writeText(text); toast("Copied."); }
  catch { toast("The browser did not allow copying. Select the text instead.", "fail"); }
}

// command/commandfor opens dialogs natively; this covers browsers that lack it.
function command(button) {
  const dialog = button && document.getElementById(button.getAttribute("commandfor"));
  if (!dialog) return;
  if (button.getAttribute("command") === "close") dialog.close();
  else dialog.showModal();
}

export function showTab(tab) {
  const list = tab.closest("[role=tablist]");
  $$("[role=tab]", list).forEach((t) => {
    const on = t === tab;
    t.setAttribute("aria-selected", String(on));
    t.tabIndex = on ? 0 : -1;
    const panel = document.getElementById(t.getAttribute("aria-controls"));
    if (panel) panel.hidden = !on;
  });
}

document.addEventListener("keydown", (e) => {
  const tab = e.target.closest?.("[role=tab]");
  const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
  if (!tab || !step) return;
  const tabs = $$("[role=tab]", tab.closest("[role=tablist]"));
  const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
  showTab(next);
  next.focus();
});

// Type-to-confirm: the final button unlocks only on an exact match.
function confirmed(input) {
  const button = $("[data-confirm-submit]", input.form);
  button?.setAttribute("aria-disabled", String(input.value.trim() !== input.dataset.confirm));
}
document.addEventListener("input", (e) => {
  if (e.target.matches("[data-confirm]")) confirmed(e.target);
  if (e.target.form) e.target.form.dataset.dirty = "";
});
document.addEventListener("submit", (e) => {
  const input = $("[data-confirm]", e.target);
  if (input && input.value.trim() !== input.dataset.confirm) { e.preventDefault(); input.focus(); return; }
  delete e.target.dataset.dirty;
  // one decision, one request: a second click finds the button blocked
  if (e.target.method === "post") $$("button:not([type=button])", e.target).forEach((b) => setTimeout(() => b.setAttribute("aria-disabled", "true")));
}, true);
document.addEventListener("change", (e) => {
  if (e.target.matches("[data-autosubmit]")) e.target.form.requestSubmit();
  if (e.target.matches("[data-pick-all]")) $$("[data-pick]", e.target.form).forEach((box) => { box.checked = e.target.checked; });
});
// Back from the next page: what was blocked while it was sent is free again.
addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });

// A dialog that closes gives up what was typed to confirm.
document.addEventListener("close", (e) => {
  if (!(e.target instanceof HTMLDialogElement)) return;
  $$("[data-confirm]", e.target).forEach((i) => { i.value = ""; confirmed(i); });
}, true);

export function prepare(root) {
  $$("[data-confirm]", root).forEach(confirmed);
  $$("[data-autosubmit-fallback]", root).forEach((b) => { b.hidden = true; });
  $$(".toasts > .toast:not([data-settled])", root).forEach((t) => { t.dataset.settled = ""; settle(t); });
  if ($("[data-tick]", root) || root === document) tick();
}

// ---- times that tick: each minute, each second when little is left or little has passed ----------------
const UNITS = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
export function spell(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const at = UNITS.findIndex(([, size]) => whole >= size);
  if (at < 0) return "0s";
  const [unit, size] = UNITS[at];
  const below = UNITS[at + 1];
  const rest = below ? Math.floor((whole % size) / below[1]) : 0;
  return `${Math.floor(whole / size)}${unit}${rest ? ` ${rest}${below[0]}` : ""}`;
}
const coarse = (s) => (s < 60 ? `${Math.floor(s)}s` : spell(Math.floor(s / 60) * 60));
const set = (el, text) => { if (el && el.textContent !== text) el.textContent = text; };

export function tick() {
  const now = Date.now() / 1000;
  $$("[data-ago]").forEach((el) => {
    const s = now - Number(el.dataset.ago);
    set(el, s < 5 ? "just now" : `${coarse(s)} ago`);
  });
  $$("[data-since]").forEach((el) => set(el, spell(now - Number(el.dataset.since))));
  $$("[data-until]").forEach((el) => {
    const s = Number(el.dataset.until) - now;
    const lead = el.dataset.lead ? `${el.dataset.lead} ` : "";
    set($("[data-left]", el), lead + (s <= 0 ? "now" : s < 900 ? spell(s) : coarse(s)));
    const tone = s < 900 ? "fail" : s < 3600 ? "pause" : "";
    if (tone) el.dataset.tone = tone; else delete el.dataset.tone;
  });
}
setInterval(tick, 1000);

document.addEventListener("htmx:afterSwap", (e) => prepare(e.target.parentNode ?? document));
prepare(document);
