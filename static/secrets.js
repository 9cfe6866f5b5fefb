// "Add a secret…" beside a field that names one: a dialog, so that the form around the field keeps what was typed.
// Without scripts it is a link to the page of a new secret, in another tab.
import { $, $$, toast } from "./dom.js";
import { choose } from "./forms.js";

const LOST = "The secret was not saved: the server did not answer as it should. What you typed is still here.";
let asking = null; // the field that asked

document.addEventListener("click", (e) => {
  const opener = e.target.closest("[data-secret-add]");
  const dialog = $("#new-secret");
  if (!opener || !dialog) return;
  e.preventDefault();
  asking = document.getElementById(opener.dataset.secretAdd);
  choose($("form", dialog));
  dialog.showModal();
  $("input:not([type=hidden])", dialog).focus();
});

document.addEventListener("submit", async (e) => {
  const form = e.target.closest("[data-secret-form]");
  if (!form) return;
  e.preventDefault();
  await send(form).catch(() => toast(LOST, "fail"));
  $$("button", form).forEach((b) => b.removeAttribute("aria-disabled"));
});

async function send(form) {
  const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  if (answer.status === 201) taken(form, (await answer.json()).name);
  else if (answer.status === 422) wrong(form, await answer.text());
  else toast(answer.redirected ? "You are signed out. Sign in in another tab; what you typed here stays." : LOST, "fail");
}

/** What cannot be saved is shown at its fields. The value was not sent back, so it is put there again. */
function wrong(form, html) {
  const value = form.elements.value.value;
  form.innerHTML = html;
  form.elements.value.value = value;
  choose(form);
  $("[aria-invalid]", form)?.focus();
}

function taken(form, name) {
  $$("select[data-secret]").forEach((field) => {
    const after = [...field.options].find((option) => option.value > name) ?? null;
    field.add(new Option(name, name), after);
  });
  asking.value = name;
  asking.form.dataset.dirty = "";
  form.reset();
  form.closest("dialog").close();
  asking.focus();
  toast(`${name} saved and chosen.`);
}
