// Live pages. One WebSocket for the tab carries "this changed"; the page then asks the server for that fragment again.
//
// A fragment is an element with an id and data-live="topic topic …". Its HTML comes from data-src (this page's address
// if there is none) with HX-Target naming it. data-after=".log li" appends ?after=<data-seq of the last match>.
// data-poll="id" data-poll-every="ms" on any element: while it is there, that fragment is fetched at this pace, too.
// data-every: least milliseconds between two fetches (100 if there is none).
import { $, $$ } from "./dom.js";
import { keep, held, banner } from "./swap.js";

const GAP = 100;
const LATE = 5000; // how long a lost connection stays unmentioned
const POLL = 10000; // without a connection, fragments are fetched at this pace
const BACKOFF = [250, 5000];

let socket = null;
let ever = false; // was connected once
let tries = 0;
let retry = 0;
let late = 0;
let said = "";
const lanes = new Map(); // fragment id -> {last, timer, busy, again, took}

export function start() {
  if (!$("[data-live]")) return;
  connect();
  setInterval(() => { if (socket?.readyState !== 1) touchAll(); }, POLL);
  setInterval(poll, 1000);
  addEventListener("online", () => { clearTimeout(retry); connect(); });
  addEventListener("offline", () => socket?.close());
  document.addEventListener("visibilitychange", () => { if (!document.hidden && socket === null) { clearTimeout(retry); connect(); } });
  document.addEventListener("htmx:afterSettle", subscribe);
  document.addEventListener("htmx:beforeSwap", guard);
  document.addEventListener("htmx:oobBeforeSwap", guard);
}

function connect() {
  if (socket) return;
  const ws = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/live`);
  socket = ws;
  ws.onopen = () => {
    const again = ever || performance.now() > 2000;
    ever = true; tries = 0; said = "";
    clearTimeout(late); late = 0;
    show("on");
    subscribe();
    lanes.forEach((lane) => { lane.took = 0; }); // how long an answer took that never came says nothing
    if (again) touchAll(); // what was missed meanwhile
  };
  ws.onmessage = (e) => heard(JSON.parse(e.data));
  ws.onclose = () => {
    if (socket === ws) socket = null;
    late ||= setTimeout(() => show("off"), LATE);
    const [min, max] = BACKOFF;
    const wait = Math.min(max, min * 2 ** tries++);
    clearTimeout(retry);
    retry = setTimeout(connect, wait * (0.5 + Math.random() / 2));
  };
}

/** The whole list of topics each time; the server replaces what it had. */
function subscribe() {
  if (socket?.readyState !== 1) return;
  const topics = [...new Set($$("[data-live]").flatMap((el) => el.dataset.live.split(/\s+/).filter(Boolean)))].sort();
  const text = JSON.stringify({ subscribe: topics });
  if (text !== said) { socket.send(text); said = text; }
}

function heard(notice) {
  if (!notice.topic) {
    if (notice.subscribed) touchAll(); // the server listens from here on: nothing before it is lost
    return;
  }
  document.dispatchEvent(new CustomEvent("orchestra:notice", { detail: notice }));
  $$("[data-live]").filter((el) => el.dataset.live.split(/\s+/).includes(notice.topic)).forEach((el) => touch(el.id));
}

const touchAll = () => $$("[data-live]").forEach((el) => touch(el.id));

/** What moves without any notice: bars that grow with time, the progress of an attempt. */
function poll() {
  if (document.hidden) return;
  $$("[data-poll]").forEach((el) => {
    const last = lanes.get(el.dataset.poll)?.last ?? -Infinity;
    if (performance.now() - last >= Number(el.dataset.pollEvery)) touch(el.dataset.poll);
  });
}

/** Fetch a fragment: at once if it was quiet, else when its gap is over; never twice at a time. */
export function touch(id, force = false) {
  const el = document.getElementById(id);
  if (!el) { lanes.delete(id); return; }
  const lane = lanes.get(id) ?? { last: -Infinity, timer: 0, busy: false, again: false, took: 0 };
  lanes.set(id, lane);
  if (lane.busy) { lane.again = true; return; }
  if (lane.timer) return;
  const gap = Math.max(Number(el.dataset.every ?? GAP), 3 * lane.took);
  const wait = force ? 0 : Math.max(0, lane.last + gap - performance.now());
  lane.timer = setTimeout(() => { lane.timer = 0; pull(id, lane); }, wait);
}

async function pull(id, lane) {
  const el = document.getElementById(id);
  if (!el) return;
  lane.busy = true;
  lane.last = performance.now();
  try {
    await htmx.ajax("GET", address(el), { source: el, target: el, swap: el.dataset.swap ?? "outerHTML" });
  } catch { /* the server is away: the next notice, reconnect or poll asks again */ }
  lane.took = performance.now() - lane.last;
  lane.busy = false;
  if (lane.again) { lane.again = false; touch(id); }
}

function address(el) {
  const url = new URL(el.dataset.src ?? location.href, location.href);
  url.hash = "";
  const tail = el.dataset.after && $$(el.dataset.after).at(-1);
  if (el.dataset.after) url.searchParams.set("after", tail?.dataset.seq ?? "0");
  return url.pathname + url.search;
}

// Nothing moves under the cursor: a fragment somebody is working in is not swapped; a banner offers it instead.
function guard(e) {
  const target = e.detail.target;
  const id = target?.id;
  if (e.type === "htmx:beforeSwap" && e.detail.xhr.status >= 400) {
    if (e.detail.xhr.status === 401 || e.detail.xhr.status === 403) location.reload();
    return;
  }
  if (e.type === "htmx:beforeSwap" && new URL(e.detail.xhr.responseURL).pathname === "/login") {
    e.detail.shouldSwap = false; // the session has ended: the page itself is sent to sign in
    location.reload();
    return;
  }
  if (!id || !target.matches("[data-live], [data-live-part]")) return;
  if (held(target) && !("forced" in target.dataset)) {
    e.detail.shouldSwap = false;
    banner(target, () => { target.dataset.forced = ""; touch(id, true); });
    return;
  }
  const restore = keep(target);
  setTimeout(() => restore(id), 0);
}

function show(state) {
  const off = state === "off";
  $$("[data-live-dot]").forEach((dot) => {
    dot.hidden = false;
    const text = off ? "Reconnecting" : "Live";
    if (dot.textContent !== text) dot.textContent = text;
    if (off) dot.dataset.tone = "pause"; else delete dot.dataset.tone;
  });
  if (off && !ever) return; // never had a connection here: pages are fetched in turn, decisions go on
  document.body.toggleAttribute("data-cut", off);
  $$("[data-needs-live]").forEach((b) => {
    if (off) { b.dataset.was ??= b.getAttribute("aria-disabled") ?? "false"; b.setAttribute("aria-disabled", "true"); }
    else if (b.dataset.was) { b.setAttribute("aria-disabled", b.dataset.was); delete b.dataset.was; }
  });
}
