// One file on its way to the server in parts: it can be paused, cancelled, and goes on after a lost connection or a reload.
import { Sha256 } from "./_sha256.js";

const PIECE = 4 * 1024 * 1024, TRIES = 12, KNOWN = "upload:";

/** What a person is told; `code`: of the server's error, where it came from there. */
export class Refused extends Error {
  constructor(message, error = {}) {
    super(message);
    this.code = error.code ?? "";
    this.details = error.details ?? {};
  }
}

const keyOf = (file, folder) => `${KNOWN}${folder}:${file.name}:${file.size}:${file.lastModified}`;

/** [{key, id, name}] of the uploads that this browser began on this page and did not end. */
export function unfinished() {
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(KNOWN));
  const all = keys.map((key) => {
    try {
      return { key, ...JSON.parse(localStorage.getItem(key)) };
    } catch {
      localStorage.removeItem(key);
      return {};
    }
  });
  return all.filter((one) => one.page === window.location.pathname);
}

export const forget = (key) => localStorage.removeItem(key);

export class Parts {
  /** `address`: of the uploads; `told(sent, size, text)`: how far it is, and what to say, if anything. */
  constructor({ address, token, told }) {
    Object.assign(this, { address, token, told, paused: null, id: "" });
    this.stopper = new AbortController();
  }

  /** The id of the resource. Raises Refused, or an AbortError after `cancel`. */
  async send(file, folder) {
    this.key = keyOf(file, folder);
    let state = await this.begun(file, folder);
    this.id = state.id;
    this.told(state.offset, file.size, state.offset ? "It goes on where it was." : "");
    const digest = new Sha256(), step = Math.min(PIECE, state.max_part_bytes);
    for (let at = 0; at < file.size; at += step) {
      const piece = await read(file, at, step);
      digest.update(piece);
      while (state.offset < at + piece.length) state = await this.part(state, piece.subarray(Math.max(0, state.offset - at)));
      this.told(at + piece.length, file.size, "");
    }
    return this.completed(state, digest.hex());
  }

  async begun(file, folder) {
    const known = JSON.parse(localStorage.getItem(this.key) ?? "null")?.id;
    if (known) {
      try {
        return await this.patient("GET", `/${known}`);
      } catch (error) {
        if (error.code !== "not_found") throw error;
      }
    }
    const made = await this.patient("POST", "", { size: file.size, name: file.name, content_type: file.type || "application/octet-stream", folder });
    localStorage.setItem(this.key, JSON.stringify({ id: made.id, name: file.name, page: window.location.pathname }));
    return made;
  }

  /** The upload after this part. One that had arrived although its answer was lost is not sent twice. */
  async part(state, bytes) {
    await this.paused?.over;
    try {
      return await this.patient("PUT", `/${state.id}?offset=${state.offset}`, bytes);
    } catch (error) {
      if (error.code === "not_found") forget(this.key);
      if (error.code !== "wrong_offset" || error.details.offset <= state.offset) throw error;
      return { ...state, offset: error.details.offset };
    }
  }

  async completed(state, sha256) {
    await this.paused?.over;
    try {
      const made = await this.patient("POST", `/${state.id}/complete`, { sha256 });
      forget(this.key);
      return made.id;
    } catch (error) {
      if (error.code === "not_found") forget(this.key);
      if (error.code !== "wrong_digest") throw error;
      await this.drop();
      throw new Refused("The file changed while it was sent. Upload it again.");
    }
  }

  pause() {
    if (this.paused) return;
    let end;
    const over = new Promise((then) => { end = then; });
    this.paused = { over, end };
  }

  resume() {
    this.paused?.end();
    this.paused = null;
  }

  /** Nothing of it is kept. */
  async cancel() {
    this.stopper.abort();
    this.resume();
    await this.drop();
  }

  async drop() {
    forget(this.key);
    const { signal } = new AbortController();
    if (this.id) await this.patient("DELETE", `/${this.id}`, undefined, signal).catch((error) => { if (error.code !== "not_found") throw error; });
  }

  /** A call that is made again while the server is not reached, TRIES times. */
  async patient(method, path, body, signal = this.stopper.signal) {
    for (let tried = 1; ; tried += 1) {
      signal.throwIfAborted();
      try {
        const found = await this.call(method, path, body, signal);
        if (tried > 1) this.told(null, null, "The connection is back.");
        return found;
      } catch (error) {
        if (error instanceof Refused || error.name === "AbortError") throw error;
        if (tried === TRIES) throw new Refused("The server is not reached. Upload the file again later: it goes on where it was.");
        this.told(null, null, "The connection is lost. It is tried again.");
        await new Promise((then) => { setTimeout(then, Math.min(10000, 500 * 2 ** tried)); signal.addEventListener("abort", then, { once: true }); });
      }
    }
  }

  async call(method, path, body, signal) {
    const raw = body instanceof Uint8Array;
    const headers = { "X-CSRFToken": this.token, "Content-Type": raw ? "application/octet-stream" : "application/json" };
    const answer = await fetch(this.address + path, { method, headers, body: raw ? body : JSON.stringify(body), signal });
    if (answer.status === 204) return null;
    if (answer.status >= 502) throw new TypeError("not reached");
    const json = (answer.headers.get("Content-Type") ?? "").startsWith("application/json");
    const found = json ? await answer.json() : { error: { message: `The server answered ${answer.status}.`, hint: "Upload the file again: it goes on where it was." } };
    if (answer.ok && json) return found;
    throw new Refused(`${found.error.message} ${found.error.hint ?? ""}`.trim(), found.error);
  }
}

async function read(file, at, step) {
  try {
    return new Uint8Array(await file.slice(at, at + step).arrayBuffer());
  } catch {
    throw new Refused("The file cannot be read any more. Choose it again.");
  }
}
