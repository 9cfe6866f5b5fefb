// The page of a run: choosing a step, filtering and following the events.
import { $, $$ } from "./dom.js";
import { touch } from "./live.js";
import { follow as ends } from "./swap.js";

document.addEventListener("click", (e) => {
  const step = e.target.closest?.("[data-step]");
  if (step && $("#run-live") && !e.ctrlKey && !e.metaKey && !e.shiftKey && e.button === 0) {
    e.preventDefault();
    inspect(step.dataset.step);
  }
  const show = e.target.closest?.("[data-events-show]");
  if (show) {
    $("#log").dataset.show = show.dataset.eventsShow;
    $$("[data-events-show]").forEach((b) => b.setAttribute("aria-pressed", String(b === show)));
    follow();
  }
  const button = e.target.closest?.("[data-follow]");
  if (button) {
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    follow();
  }
});

function inspect(step) {
  const url = new URL(location.href);
  url.searchParams.set("step", step);
  url.searchParams.delete("tab");
  history.replaceState(history.state, "", url);
  $("#run-live").dataset.src = url.pathname + url.search;
  touch("run-live", true);
}

ends(); // what an attempt says is read from its end

// Follows only when asked to, and only when the reader is at the end already.
const log = $("#log");
let atEnd = true;
const following = () => $("[data-follow]")?.getAttribute("aria-pressed") === "true";
function follow() { if (log && following()) { log.scrollTop = log.scrollHeight; atEnd = true; } }
if (log) {
  $$("[data-events]").forEach((el) => { el.hidden = false; });
  log.addEventListener("scroll", () => { atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 24; });
  new MutationObserver(() => { if (atEnd) follow(); }).observe($("#events"), { childList: true });
  follow();
}
