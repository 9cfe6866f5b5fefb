// Uploads a file in parts: it shows how far it is, and goes on after a lost connection or a reload. Without it the form works as it is.
import { Sha256 } from "./_sha256.js";

const PIECE = 4 * 1024 * 1024, TRIES = 12;
const form = document.getElementById("upload"), bar = document.getElementById("upload-bar");
const panel = document.getElementById("upload-state"), said = document.getElementById("upload-said");
const cancel = document.getElementById("upload-cancel"), send = form.querySelector("button.btn--primary");
let stop = null;

class Refused extends Error {}

async function call(method, path, body) {
  const headers = { "X-CSRFToken": form.querySelector("input[name=csrfmiddlewaretoken]").value };
  headers["Content-Type"] = body instanceof Uint8Array ? "application/octet-stream" : "application/json";
  const data = body === undefined || body instanceof Uint8Array ? body : JSON.stringify(body);
  const answer = await fetch(form.dataset.uploads + path, { method, headers, body: data, signal: stop?.signal });
  if (answer.status === 204) return null;
  if (answer.status >= 502) throw new TypeError("not reached");
  const found = await answer.json();
  if (!answer.ok) throw Object.assign(new Refused(`${found.error.message} ${found.error.hint ?? ""}`.trim()), { error: found.error });
  return found;
}

/** A call that is made again while the server is not reached, TRIES times. */
async function patient(method, path, body) {
  for (let tried = 1; ; tried += 1) {
    try {
      return await call(method, path, body);
    } catch (error) {
      if (error instanceof Refused || error.name === "AbortError") throw error;
      if (tried === TRIES) throw new Refused("The server is not reached. Upload the file again later: it goes on where it was.");
      said.textContent = "The connection is lost; it is tried again.";
      await new Promise((then) => setTimeout(then, Math.min(10000, 500 * 2 ** tried)));
    }
  }
}

const keyOf = (file, folder) => `upload:${folder}:${file.name}:${file.size}:${file.lastModified}`;

async function begun(file, folder) {
  const known = localStorage.getItem(keyOf(file, folder));
  if (known) {
    try {
      return await patient("GET", `/${known}`);
    } catch (error) {
      if (error.error?.code !== "not_found") throw error;
    }
  }
  const made = await patient("POST", "", { size: file.size, name: file.name, content_type: file.type || "application/octet-stream", folder });
  localStorage.setItem(keyOf(file, folder), made.id);
  return made;
}

async function upload(file, folder) {
  let state = await begun(file, folder);
  const digest = new Sha256(), step = Math.min(PIECE, state.max_part_bytes);
  cancel.dataset.id = state.id;
  for (let at = 0; at < file.size; at += step) {
    const piece = new Uint8Array(await file.slice(at, at + step).arrayBuffer());
    digest.update(piece);
    while (state.offset < at + piece.length) state = await sent(state, piece.subarray(state.offset - at));
    bar.value = Math.floor(((at + piece.length) * 100) / file.size);
    said.textContent = `${bar.value} % of ${file.name} is uploaded.`;
  }
  const made = await patient("POST", `/${state.id}/complete`, { sha256: digest.hex() });
  localStorage.removeItem(keyOf(file, folder));
  window.location.assign(form.dataset.resources + made.id);
}

/** The upload after this part. One that had arrived although its answer was lost is not sent twice. */
async function sent(state, part) {
  try {
    return await patient("PUT", `/${state.id}?offset=${state.offset}`, part);
  } catch (error) {
    if (error.error?.code !== "wrong_offset" || error.error.details.offset <= state.offset) throw error;
    return { ...state, offset: error.error.details.offset };
  }
}

form.addEventListener("submit", async (event) => {
  const file = form.elements.file.files[0], folder = form.elements.folder.value.trim();
  if (!file) return;
  event.preventDefault();
  stop = new AbortController();
  panel.hidden = false;
  send.disabled = true;
  bar.value = 0;
  try {
    await upload(file, folder);
  } catch (error) {
    said.textContent = error.name === "AbortError" ? "Cancelled. Nothing was kept." : error.message;
    if (error.name === "AbortError") localStorage.removeItem(keyOf(file, folder));
    send.disabled = false;
  }
});

cancel.addEventListener("click", async () => {
  const id = cancel.dataset.id;
  stop?.abort();
  stop = null;
  if (id) await patient("DELETE", `/${id}`).catch((error) => { said.textContent = error.message; });
});
