// The page of a request: opening one from the list, a form that changes what will happen, a decision made elsewhere.
import { $, $$, toast } from "./dom.js";

// From the list into the pane beside it; on phones, and without this, the link opens its own page.
document.addEventListener("click", async (e) => {
  const item = e.target.closest?.("a[data-open]");
  const pane = $("#detail");
  if (!item || !pane || e.ctrlKey || e.metaKey || e.shiftKey || e.button !== 0 || matchMedia("(max-width: 48rem)").matches) return;
  e.preventDefault();
  $$("[data-open]").forEach((i) => i.removeAttribute("aria-current"));
  item.setAttribute("aria-current", "true");
  history.replaceState(history.state, "", item.href);
  try {
    await htmx.ajax("GET", item.pathname, { target: pane, source: item, swap: "outerHTML", headers: { "HX-Target": "detail" } });
  } catch { location.assign(item.href); }
});

// A form value that changes the action changes what is approved: show it, with its digest, before anybody can confirm.
let asked = 0;
document.addEventListener("input", (e) => {
  const form = e.target.form;
  if (!form?.dataset.effect || !e.target.name?.startsWith("form-")) return;
  clearTimeout(asked);
  $$("[data-confirm-submit]", form).forEach((b) => b.setAttribute("aria-disabled", "true"));
  asked = setTimeout(() => {
    const query = new URLSearchParams([...new FormData(form)].filter(([k]) => k.startsWith("form-")));
    htmx.ajax("GET", `${form.dataset.effect}?${query}`, { target: "#effect", swap: "outerHTML" });
  }, 150);
});
document.addEventListener("htmx:afterSwap", (e) => {
  if (e.target.id !== "effect" && !$("#effect", e.target)) return;
  $$("[data-confirm-submit]").forEach((b) => {
    const confirm = $("[data-confirm]", b.form);
    if (!confirm) b.setAttribute("aria-disabled", "false");
  });
});

// Decided, changed or withdrawn elsewhere: what is open closes, and the page says why.
document.addEventListener("htmx:oobAfterSwap", closed);
document.addEventListener("htmx:afterSwap", closed);
function closed() {
  const status = $("#request-live");
  if (!status || status.dataset.status === "open") return;
  const open = $$("dialog[data-decision][open]");
  if (!open.length) return;
  open.forEach((d) => d.close());
  toast("This request is no longer open. Nothing was sent.", "fail");
}
