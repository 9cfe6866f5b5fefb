// Small builders; text is always text, never HTML.
const SVG = "http://www.w3.org/2000/svg";

export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** An icon of the page's sprite. */
export function icon(name, css = "") {
  return svg("svg", { class: `icon ${css}`.trim(), "aria-hidden": "true" }, svg("use", { href: `#${name}` }));
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined) node.setAttribute(key, String(value));
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
