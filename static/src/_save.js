// Saving with an optimistic lock: nobody's text is lost, and it is said who was faster.
import { el } from "./_dom.js";
import { post } from "./_http.js";
import { difference } from "./_diff.js";

export function saver(form, text, replace) {
  const state = document.getElementById("save-state");
  const revision = document.getElementById("revision");
  const dialog = document.getElementById("conflict");
  let saved = text_of_page(form), saving = null, theirs = null;

  form.addEventListener("submit", (event) => { event.preventDefault(); now(); });
  window.addEventListener("beforeunload", (event) => { if (text() !== saved) event.preventDefault(); });
  document.getElementById("conf-later").addEventListener("click", () => dialog.close());
  document.getElementById("conf-mine").addEventListener("click", () => { revision.value = theirs.revision; dialog.close(); now(); });
  document.getElementById("conf-theirs").addEventListener("click", () => {
    revision.value = theirs.revision;
    saved = theirs.source;
    dialog.close();
    replace(theirs.source);
    done(theirs.revision);
  });

  /** One save at a time; true when the text on the page is what the server has. */
  function now() {
    saving ??= save().finally(() => { saving = null; });
    return saving;
  }

  async function save() {
    const sent = text();
    say("Saving…");
    const answer = await post(form.action, { source: sent, revision: revision.value });
    if (answer.ok) {
      saved = sent;
      done(answer.data.revision);
      return text() === sent;
    }
    if (answer.status === 412) conflict(answer.data.error);
    else say(answer.data?.error ? `Not saved. ${answer.data.error.message}` : "Not saved: the server cannot be reached.", "fail");
    return false;
  }

  function done(number) {
    revision.value = number;
    document.getElementById("revision-shown").textContent = String(number);
    document.querySelectorAll("#release-form input[name=revision]").forEach((input) => { input.value = number; });
    say(text() === saved ? "Saved" : "Changed");
  }

  function conflict(error) {
    theirs = error.details;
    say("Not saved", "fail");
    document.getElementById("conf-text").textContent =
      `${error.message} Nothing of yours is lost: it is still in the editor.`;
    document.getElementById("conf-diff").replaceChildren(...difference(theirs.source, text()).map(([tag, line]) => el(tag, {}, `${line} `)));
    dialog.showModal();
  }

  function say(words, tone = "") {
    state.textContent = words;
    state.dataset.tone = tone;
  }

  return { now, changed: () => say(text() === saved ? "Saved" : "Changed, not saved") };
}

function text_of_page(form) {
  return form.querySelector("textarea").value;
}
