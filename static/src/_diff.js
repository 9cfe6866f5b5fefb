// Lines of a difference, by the longest common subsequence; enough for texts a person wrote.
const LARGEST = 4_000_000; // cells of the table

/** [["ins" | "del" | "span", line], …] from `before` to `after`, with three lines around each change. */
export function difference(before, after) {
  const a = before.split("\n"), b = after.split("\n");
  let head = 0, tail = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const middle = lines(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  const same = (part) => part.map((line) => ["span", line]);
  return around([...same(a.slice(0, head)), ...middle, ...same(a.slice(a.length - tail))]);
}

function lines(a, b) {
  if (a.length * b.length > LARGEST) return [...a.map((line) => ["del", line]), ...b.map((line) => ["ins", line])];
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const out = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { out.push(["span", a[i++]]); j++; }
    else if (j >= b.length || (i < a.length && table[i + 1][j] >= table[i][j + 1])) out.push(["del", a[i++]]);
    else out.push(["ins", b[j++]]);
  }
  return out;
}

function around(all) {
  const near = new Set();
  all.forEach(([tag], at) => { if (tag !== "span") for (let n = at - 3; n <= at + 3; n++) near.add(n); });
  const out = [];
  all.forEach((line, at) => {
    if (near.has(at)) out.push(line);
    else if (near.has(at - 1)) out.push(["span", "…"]);
  });
  return out;
}
