// Completion from the language's JSON Schema: keys where keys go, values where they are known, names in expressions.
const MAX_DEPTH = 12;

export function completeFrom(url) {
  let schema = null;
  const loading = fetch(url, { headers: { Accept: "application/json" } }).then((r) => (r.ok ? r.json() : null)).catch(() => null);
  return async (context) => {
    schema ??= await loading;
    if (!schema) return null;
    return inExpression(context) ?? inYaml(context, schema);
  };
}

function inExpression(context) {
  const line = context.state.doc.lineAt(context.pos);
  const before = line.text.slice(0, context.pos - line.from);
  const open = before.lastIndexOf("${{");
  if (open < 0 || before.indexOf("}}", open) >= 0) return null;
  const word = /[\w.]*$/.exec(before)[0];
  const text = context.state.doc.toString();
  const steps = [...text.matchAll(/^\s*-\s*(?:\{\s*)?id:\s*([\w-]+)/gm)].map((m) => m[1]);
  const names = ["input", "trigger", "trigger.kind", "trigger.body", "trigger.headers", "trigger.scheduled_at", "trigger.local_time", "run.id", "item", "item_index"];
  for (const id of steps) names.push(...["output", "status", "error", "attempts"].map((part) => `steps.${id}.${part}`));
  return { from: context.pos - word.length, options: names.map((label) => ({ label, type: "variable" })), validFor: /^[\w.-]*$/ };
}

function inYaml(context, schema) {
  const line = context.state.doc.lineAt(context.pos);
  const before = line.text.slice(0, context.pos - line.from);
  const value = /^(\s*(?:- )*)([\w-]+):\s+([\w-]*)$/.exec(before);
  if (value) return values(context, schema, line.number, value);
  const key = /^(\s*(?:- )*)([\w-]*)$/.exec(before);
  if (!key || (!key[2] && !context.explicit)) return null;
  const path = pathAt(context.state.doc, line.number, key[1]);
  const options = keysAt(schema, path).filter(([name]) => name !== key[2]);
  return options.length ? { from: context.pos - key[2].length, options: options.map(keyOption), validFor: /^[\w-]*$/ } : null;
}

function values(context, schema, number, [, indent, name, typed]) {
  const path = [...pathAt(context.state.doc, number, indent), name];
  const known = at(schema, path).flatMap((s) => [...(s.enum ?? []), ...("const" in s ? [s.const] : []), ...(s.type === "boolean" ? [true, false] : [])]);
  const options = [...new Set(known.map(String))].map((label) => ({ label, type: "constant" }));
  return options.length ? { from: context.pos - typed.length, options, validFor: /^[\w-]*$/ } : null;
}

function keyOption([name, shape]) {
  const nested = shape.type === "object" || shape.type === "array" || shape.$ref;
  return { label: name, apply: nested ? `${name}:` : `${name}: `, type: "property", info: shape.description || undefined };
}

/** The keys above a line, read from the indentation; 0 stands for "in a list". */
function pathAt(doc, number, prefix) {
  const path = [];
  let column = prefix.length, same = false; // `same`: the key of a list may stand in the column of its dashes
  const climb = (dashes) => {
    for (const dash of dashes.reverse()) {
      if (dash >= column) continue;
      path.unshift(0);
      column = dash;
      same = true;
    }
  };
  climb(dashesIn(prefix));
  for (let n = number - 1; n > 0 && (column > 0 || same); n--) {
    const match = /^(\s*(?:- +)*)([\w-]+):/.exec(doc.line(n).text);
    if (!match) continue;
    const own = match[1].length;
    if (own < column || (same && own === column)) {
      path.unshift(match[2]);
      column = own;
      same = false;
    }
    climb(dashesIn(match[1]));
  }
  return path;
}

function dashesIn(prefix) {
  return [...prefix.matchAll(/-/g)].map((dash) => dash.index);
}

/** Every shape that may stand at a path. */
function at(root, path) {
  let shapes = expand(root, root);
  for (const part of path.slice(0, MAX_DEPTH)) shapes = shapes.flatMap((s) => next(root, s, part));
  return shapes;
}

function next(root, shape, part) {
  if (typeof part === "number") return shape.items ? expand(root, shape.items) : [];
  const found = shape.properties?.[part];
  if (found) return expand(root, found);
  return typeof shape.additionalProperties === "object" ? expand(root, shape.additionalProperties) : [];
}

function expand(root, shape, depth = 0) {
  if (!shape || typeof shape !== "object" || depth > MAX_DEPTH) return [];
  const parts = [...(shape.anyOf ?? []), ...(shape.oneOf ?? []), ...(shape.allOf ?? [])].flatMap((s) => expand(root, s, depth + 1));
  const target = shape.$ref ? expand(root, root.$defs?.[shape.$ref.split("/").pop()], depth + 1) : [];
  return [shape, ...target, ...parts];
}

function keysAt(root, path) {
  const found = new Map();
  for (const shape of at(root, path)) for (const [name, value] of Object.entries(shape.properties ?? {})) if (!found.has(name)) found.set(name, value);
  return [...found];
}
