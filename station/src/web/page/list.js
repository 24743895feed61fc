// Lists that come in pages: only one page is ever loaded.
import { h, swap } from "./dom.js";
import { t } from "./text.js";

// Shows a list. `load(at)` returns [contents, next]; the first page is kept up to date, and so is any other.
export function paged(root, load) {
  const before = [];
  let at = null;
  let next = null;
  const body = h("div", { class: "scroll" });
  const pager = h("p", { class: "buttons pager" });
  root.append(body, pager);
  const move = (change) => async () => {
    change();
    await refresh();
    body.querySelector("caption, .caption")?.scrollIntoView({ block: "nearest" });
  };
  const refresh = async () => {
    const [contents, more] = await load(at);
    next = more ?? null;
    swap(body, contents);
    const buttons = [
      at !== null && h("button", { type: "button", id: "previous", onclick: move(() => { at = before.pop() ?? null; }) }, t("previous")),
      next !== null && h("button", { type: "button", id: "next", onclick: move(() => { before.push(at); at = next; }) }, t("next")),
    ];
    pager.replaceChildren(...keepFocus(pager, buttons.filter(Boolean)));
  };
  return refresh;
}

// The listeners hold the page that they lead to, so the buttons are new each time; the focus stays.
function keepFocus(pager, buttons) {
  const active = pager.contains(document.activeElement) ? document.activeElement.id : null;
  if (active) queueMicrotask(() => (document.getElementById(active) ?? pager.querySelector("button"))?.focus());
  return buttons;
}
