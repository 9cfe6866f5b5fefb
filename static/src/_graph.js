// The graph of the text: dagre places, SVG attributes draw. No inline style.
import { Graph, layout } from "@dagrejs/dagre";
import { svg } from "./_dom.js";

const WIDTH = 168, HEIGHT = 40;
const ICONS = { http: "webhook", function: "terminal", approval: "s-human", wait: "s-waiting", sleep: "s-waiting", kv: "db", route: "shapes" };
const ZOOMS = [0.5, 0.65, 0.8, 1, 1.25, 1.5, 2];

export function drawer(view, jump) {
  let zoom = 1, last = null;
  const shown = document.getElementById("zoom-shown");
  const state = document.getElementById("graph-state");

  document.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => {
    const step = Number(button.dataset.zoom);
    zoom = step === 0 ? 1 : ZOOMS[Math.min(Math.max(ZOOMS.indexOf(zoom) + step, 0), ZOOMS.length - 1)];
    shown.textContent = `${Math.round(zoom * 100)}%`;
    if (last) draw(view, last.graph, last.problems, zoom);
  }));
  view.addEventListener("click", (event) => {
    const node = event.target.closest("[data-line]");
    if (node) jump(Number(node.dataset.line));
  });

  return {
    /** `graph` null: the text is not readable now; the last picture stays, and says so. */
    show(graph, problems) {
      state.textContent = graph ? "updates as you type" : "of the last readable text";
      if (graph) last = { graph, problems };
      if (last) draw(view, last.graph, graph ? problems : last.problems, zoom);
    },
  };
}

function draw(view, graph, problems, zoom) {
  const places = place(graph);
  const { width, height } = places.graph();
  const edges = places.edges().map((e) => svg("path", { class: "edge", d: curve(places.edge(e).points), fill: "none" }));
  const nodes = graph.nodes.filter((n) => places.hasNode(n.id)).map((n) => node(n, places.node(n.id), worst(n, graph.nodes, problems)));
  const words = `${graph.nodes.length} steps: ${graph.nodes.map((n) => n.id).join(", ")}`;
  view.replaceChildren(svg("svg", {
    class: "sketch", role: "img", "aria-label": words,
    viewBox: `0 0 ${width} ${height}`, width: width * zoom, height: height * zoom,
  }, ...edges, ...nodes));
}

function place(graph) {
  const g = new Graph();
  g.setGraph({ rankdir: "TB", nodesep: 16, ranksep: 22, marginx: 4, marginy: 4 });
  g.setDefaultEdgeLabel(() => ({}));
  graph.nodes.forEach((n) => g.setNode(n.id, { width: WIDTH, height: HEIGHT }));
  graph.edges.forEach(([from, to]) => g.setEdge(from, to));
  layout(g);
  return g;
}

function curve(points) {
  const [first, ...rest] = points;
  let path = `M${first.x.toFixed(1)} ${first.y.toFixed(1)}`, at = first;
  for (const p of rest) {
    const middle = ((at.y + p.y) / 2).toFixed(1);
    path += `C${at.x.toFixed(1)} ${middle} ${p.x.toFixed(1)} ${middle} ${p.x.toFixed(1)} ${p.y.toFixed(1)}`;
    at = p;
  }
  return path;
}

/** The worst problem between this step's first line and the next one's. */
function worst(step, nodes, problems) {
  const next = Math.min(...nodes.map((n) => n.line).filter((line) => line > step.line), Infinity);
  const mine = problems.filter((p) => p.line >= step.line && p.line < next);
  return mine.some((p) => p.severity === "error") ? "fail" : mine.some((p) => p.severity === "warning") ? "pause" : null;
}

function cut(text, length) {
  return text?.length > length ? `${text.slice(0, length - 1)}…` : text;
}

function node(step, at, tone) {
  const x = at.x - WIDTH / 2, y = at.y - HEIGHT / 2;
  const css = ["node"];
  if (step.human) css.push("node--human");
  if (step.irreversible) css.push("node--irr");
  if (tone === "fail") css.push("node--bad");
  const shade = tone ?? (step.human ? "human" : step.irreversible ? "fail" : null);
  const name = cut(step.id, 19);
  const sign = step.irreversible ? "r-irreversible" : ICONS[step.family] ?? "flow";
  return svg("g", { class: css.join(" "), "data-tone": shade, "data-line": step.line },
    svg("title", {}, `${step.id}, line ${step.line}`),
    svg("rect", { x, y, width: WIDTH, height: HEIGHT, rx: 8 }),
    svg("use", { href: `#${sign}`, x: x + 10, y: y + 13, width: 14, height: 14 }),
    svg("text", { x: x + 33, y: y + 17 }, name),
    svg("text", { class: "sub", x: x + 33, y: y + 31 }, cut(step.detail, 23)),
    tone ? svg("use", { href: tone === "fail" ? "#s-failed" : "#alert", x: x + WIDTH - 23, y: y + 13, width: 14, height: 14 }) : null);
}
