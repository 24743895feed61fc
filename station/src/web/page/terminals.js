// The list of terminals, and a selection to order for.
import { get, may, query } from "./api.js";
import { field, h, table } from "./dom.js";
import { link, time, to } from "./format.js";
import { paged } from "./list.js";
import { t } from "./text.js";

const SIZE = 50;

export async function terminals(root, { parameters }) {
  const chosen = new Set();
  const input = (name) => h("input", { name, value: parameters.get(name) ?? "", autocomplete: "off", spellcheck: "false" });
  const [id, product, version] = ["id", "product", "version"].map(input);
  const find = (event) => {
    event.preventDefault();
    location.hash = id.value.trim()
      ? `#/terminals/${encodeURIComponent(id.value.trim())}`
      : `#/terminals${query({ product: product.value.trim(), version: version.value.trim() })}`;
  };
  const forChosen = h("button", { type: "button", class: "primary", disabled: true, onclick: () => {
    location.hash = `#/new-order${query({ terminals: [...chosen].join(" ") })}`;
  } });
  const count = () => {
    forChosen.disabled = chosen.size === 0;
    forChosen.textContent = t("order.for", { n: chosen.size });
  };
  count();
  root.append(h("h1", {}, t("terminals")),
    h("form", { class: "filter", role: "search", onsubmit: find },
      field(t("terminal"), id), field(t("product"), product), field(t("version"), version),
      h("p", { class: "buttons" }, h("button", {}, t("find")), may("operate") && forChosen)));
  const tick = (terminal) => h("input", {
    type: "checkbox", name: `choose-${terminal}`, "aria-label": t("choose", { terminal }), checked: chosen.has(terminal),
    onchange: (event) => { chosen[event.target.checked ? "add" : "delete"](terminal); event.target.toggleAttribute("checked", event.target.checked); count(); },
  });
  const refresh = paged(root, async (after) => {
    const page = await get(`terminals${query({ product: parameters.get("product"), version: parameters.get("version"), after, limit: SIZE })}`);
    const rows = page.terminals.map((each) => [
      ...(may("operate") ? [tick(each.id)] : []),
      to(`terminals/${encodeURIComponent(each.id)}`, each.id), link(each.online), each.product, each.version, each.kernel, time(each.lastSeen),
      each.job ? to(`jobs/${each.job}`, t("job.underway")) : null,
    ]);
    const columns = [...(may("operate") ? [[t("chosen")]] : []), [t("terminal")], [t("link")], [t("product")], [t("version")], [t("kernel")], [t("seen")], [t("job")]];
    return [table(t("terminals"), columns, rows, t("terminals.none")), page.next];
  });
  await refresh();
  return refresh;
}
