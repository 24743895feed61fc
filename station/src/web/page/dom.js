// Elements. Texts of others only ever become text nodes.
import { t } from "./text.js";

const SVG = document.querySelector("svg").namespaceURI;

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Makes an element; attributes that begin with "on" are listeners.
export const h = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);

const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

// Replaces what is in an element, unless the same is there already; the focus stays on what has the same key.
export function swap(element, ...children) {
  const made = h("div", {}, ...children);
  if (made.innerHTML === element.innerHTML) return;
  const active = element.contains(document.activeElement) ? key(document.activeElement) : null;
  element.replaceChildren(...made.childNodes);
  if (active) [...element.querySelectorAll("a, button, input, select")].find((each) => key(each) === active)?.focus();
}

function key(element) {
  return element.id || element.name || element.getAttribute("href") || element.textContent;
}

// A table: columns are [title, kind]; rows are lists of contents.
export function table(caption, columns, rows, none = t("none")) {
  if (rows.length === 0) return h("div", {}, h("p", { class: "caption" }, caption), h("p", { class: "none" }, none));
  // On a phone a cell is a line of two ends: its label and its contents.
  const whole = (content) => (Array.isArray(content) && content.length > 1 ? h("span", {}, content) : content ?? "");
  const cell = (content, index) => h("td", { class: columns[index][1], "data-label": columns[index][0] }, whole(content));
  return h("table", {},
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, columns.map(([title, kind]) => h("th", { scope: "col", class: kind }, title)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell)))));
}

// A list of facts: pairs of a title and its contents; those without contents are left out.
export function facts(pairs) {
  const known = pairs.filter(([, content]) => content !== null && content !== undefined && content !== "");
  return h("dl", {}, known.map(([title, content]) => h("div", {}, h("dt", {}, title), h("dd", {}, content))));
}

// A bar of parts [kind, count]; the text beside it says the same.
export function bar(parts, total) {
  let x = 0;
  const scale = 100 / Math.max(total, 1);
  const pieces = parts.filter(([, count]) => count > 0).map(([kind, count]) => {
    const piece = svg("rect", { class: kind, x: x.toFixed(2), y: 0, width: (count * scale).toFixed(2), height: 8 });
    x += count * scale;
    return piece;
  });
  return svg("svg", { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "rest", x: 0, y: 0, width: 100, height: 8 }), pieces);
}

export function progress(percent, label) {
  return h("span", { class: "progress" }, h("progress", { max: 100, value: percent, "aria-label": label }), ` ${percent} %`);
}

export function field(label, control, hint) {
  const id = control.id || `f-${control.name}`;
  control.id = id;
  const more = hint ? h("small", { id: `${id}-hint` }, hint) : null;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  const kind = control.type === "checkbox" ? "field check" : "field";
  return h("p", { class: kind }, h("label", { for: id }, label), control, more);
}

export function options(pairs, chosen) {
  return pairs.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
}

// Says something to everybody, screen readers included.
export function say(text, bad = false) {
  const status = document.getElementById("status");
  status.className = bad ? "bad" : "";
  status.textContent = text;
}

// Asks once; true if the person agrees.
export function ask(title, text, agree) {
  const dialog = document.getElementById("ask");
  return new Promise((answered) => {
    const close = (answer) => () => { dialog.close(); answered(answer); };
    dialog.replaceChildren(h("h2", { id: "ask-title" }, title), h("p", {}, text), h("p", { class: "buttons" },
      h("button", { type: "button", onclick: close(false) }, t("back")),
      h("button", { type: "button", class: "danger", onclick: close(true) }, agree)));
    dialog.oncancel = () => answered(false);
    dialog.showModal();
  });
}
