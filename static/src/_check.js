// Lint as you type: gutter, underlines, the Problems panel, and the graph from the same answer.
import { setDiagnostics } from "@codemirror/lint";
import { el, icon } from "./_dom.js";
import { post } from "./_http.js";

const QUIET = 250; // milliseconds without a key before the text is checked

export function checker(form, graph, jump) {
  const list = document.getElementById("problems");
  const state = document.getElementById("check-state");
  let timer = 0, running = null;

  list.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-line]");
    if (!link) return;
    event.preventDefault();
    jump(Number(link.dataset.line), Number(link.dataset.column));
  });

  async function check(view) {
    running?.abort();
    const mine = running = new AbortController();
    const text = view.state.doc.toString();
    let answer;
    try {
      answer = await post(form.dataset.check, { source: text }, mine.signal);
    } catch { return; } // a newer check took over
    if (mine.signal.aborted || view.state.doc.toString() !== text) return;
    if (!answer.ok) {
      state.textContent = answer.data?.error?.message ?? "Not checked: the server cannot be reached.";
      return;
    }
    state.textContent = "Checked";
    const problems = answer.data.problems;
    view.dispatch(setDiagnostics(view.state, problems.map((p) => diagnostic(view.state.doc, p))));
    showList(list, problems);
    showCounts(problems);
    graph.show(answer.data.graph, problems);
  }

  return {
    soon(view, wait = QUIET) {
      clearTimeout(timer);
      timer = setTimeout(() => check(view), wait);
    },
  };
}

function diagnostic(doc, problem) {
  const line = doc.line(Math.min(Math.max(problem.line, 1), doc.lines));
  const from = Math.min(line.from + Math.max(problem.column - 1, 0), line.to);
  const word = /^[^\s:,\]}]+/.exec(line.text.slice(from - line.from));
  const severity = ["error", "warning", "info"].includes(problem.severity) ? problem.severity : "error";
  const to = Math.min(line.to, from + (word ? word[0].length : 1));
  return { from, to, severity, source: problem.rule, message: [problem.message, problem.hint].filter(Boolean).join(" ") };
}

function showList(list, problems) {
  list.replaceChildren(...problems.map((p) => el("li", { "data-tone": p.tone },
    el("a", { href: "#source", "data-line": p.line, "data-column": p.column },
      el("span", { class: "tone" }, p.severity === "error" ? icon("s-failed", "icon--state") : icon("alert"), el("span", { class: "sr" }, p.severity)),
      el("code", {}, String(p.line)),
      el("span", {}, el("b", {}, p.message), ` ${p.hint} `, el("code", { class: "rule" }, p.rule))))));
}

function showCounts(problems) {
  const errors = problems.filter((p) => p.severity === "error").length;
  const warnings = problems.filter((p) => p.severity === "warning").length;
  const badges = [];
  if (errors) badges.push(badge("fail", "s-failed", `${errors} error${errors > 1 ? "s" : ""}`));
  if (warnings) badges.push(badge("pause", "alert", `${warnings} warning${warnings > 1 ? "s" : ""}`));
  if (!problems.length) badges.push(badge("ok", "s-succeeded", "None"));
  document.getElementById("problem-counts").replaceChildren(...badges);
  const first = problems.find((p) => p.severity === "error");
  document.dispatchEvent(new CustomEvent("flow:checked", { detail: { errors, line: first?.line } }));
}

function badge(tone, name, text) {
  return el("span", { class: "badge", "data-tone": tone }, icon(name, name.startsWith("s-") ? "icon--state" : ""), text);
}
