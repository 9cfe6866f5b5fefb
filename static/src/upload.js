// Forms with `data-uploads`: the files chosen in them go up in parts before the form is sent. Without scripts the form is sent as it is.
import { el } from "./_dom.js";
import { forget, Parts, Refused, unfinished } from "./_parts.js";

const form = document.querySelector("form[data-uploads]"), panel = document.getElementById("upload-state");
const [bar, far, said, failed] = ["bar", "far", "said", "failed"].map((name) => document.getElementById(`upload-${name}`));
const [pause, cancel, left] = ["pause", "cancel", "left"].map((name) => document.getElementById(`upload-${name}`));
const send = form.querySelector("button.btn--primary");
const size = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
let parts = null, tenth = -1;

const mib = (bytes) => size.format(bytes / 1024 / 1024);

/** Shown at once; said to those who listen only at every tenth, and when there is news. */
function told(name, sent, all, text) {
  if (all !== null) {
    const percent = all ? Math.floor((sent * 100) / all) : 100;
    bar.value = percent;
    far.textContent = `${mib(sent)} of ${mib(all)} MiB of ${name}`;
    if (!text && Math.floor(percent / 10) !== tenth) said.textContent = `${percent} % of ${name} is uploaded.`;
    tenth = Math.floor(percent / 10);
  }
  if (text) said.textContent = text;
}

function busy(on) {
  panel.hidden = false;
  panel.setAttribute("aria-busy", String(on));
  [pause, cancel].forEach((button) => { button.hidden = !on; });
  [...form.elements].filter((field) => field.type === "file").forEach((field) => { field.disabled = on; });
  send.setAttribute("aria-disabled", String(on));
  if (!on) return;
  failed.hidden = left.hidden = true;
  bar.hidden = false;
  bar.value = 0;
  pause.textContent = "Pause";
}

function fail(message) {
  said.textContent = "";
  failed.hidden = false;
  failed.querySelector("div").textContent = message;
  send.focus();
}

/** Sends one file; the id of its resource. */
async function sent(file, folder) {
  tenth = -1;
  const token = form.querySelector("input[name=csrfmiddlewaretoken]").value;
  parts = new Parts({ address: form.dataset.uploads, token, told: (...news) => told(file.name, ...news) });
  return parts.send(file, folder);
}

async function sendAll(inputs) {
  const folder = form.dataset.folder ?? form.elements.folder.value.trim();
  for (const input of inputs) {
    const id = await sent(input.files[0], folder);
    if (form.dataset.then) return window.location.assign(form.dataset.then + id);
    form.elements[input.name.replace(/\.file$/, "")].value = `res://${id}`;
    input.value = "";
  }
  said.textContent = "Everything is uploaded.";
  form.submit();
  return undefined;
}

form.addEventListener("submit", async (event) => {
  if (send.getAttribute("aria-disabled") === "true") return event.preventDefault();
  const inputs = [...form.elements].filter((field) => field.type === "file" && field.files.length);
  if (!inputs.length) return undefined;
  event.preventDefault();
  busy(true);
  try {
    await sendAll(inputs);
  } catch (error) {
    busy(false);
    if (error.name === "AbortError") said.textContent = "Cancelled. Nothing of it is kept.";
    else fail(error instanceof Refused ? error.message : "Something broke in this page. Reload it and choose the file again: it goes on where it was.");
    if (!(error instanceof Refused) && error.name !== "AbortError") throw error;
  }
  return undefined;
});

pause.addEventListener("click", () => {
  const stopped = !parts?.paused;
  if (stopped) parts?.pause();
  else parts.resume();
  pause.textContent = stopped ? "Go on" : "Pause";
  said.textContent = stopped ? "Paused. What is uploaded stays for a day." : "It goes on.";
});

cancel.addEventListener("click", () => parts?.cancel().catch((error) => fail(error.message)));

// what a reload, or a closed page, broke off
for (const one of unfinished()) {
  const drop = el("button", { class: "btn btn--small", type: "button" }, "Forget it");
  const line = el("p", { class: "small row" }, `${one.name} is not complete: choose the same file again and it goes on where it was.`, drop);
  drop.addEventListener("click", () => { forget(one.key); line.remove(); left.hidden = !left.childElementCount; });
  left.append(line);
  left.hidden = panel.hidden = false;
  [pause, cancel].forEach((button) => { button.hidden = true; });
}
