// The list of terminals, and a selection to order for.
import { get, may, query } from "./api.js";
import { field, h, table } from "./dom.js";
import { link, time, to } from "./format.js";
import { paged } from "./list.js";
import { t } from "./text.js";

const SIZE = 50;

export async function terminals(root, { parameters }) {
  const chosen = new Set();
  const filter = parameters.get("filter") ?? "";
  const [id, wanted] = [["id", ""], ["filter", filter]].map(([name, value]) => h("input", { name, value, autocomplete: "off", spellcheck: "false" }));
  const find = (event) => {
    event.preventDefault();
    const one = id.value.trim();
    location.hash = one ? `#/terminals/${encodeURIComponent(one)}` : `#/terminals${query({ filter: wanted.value.trim() })}`;
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
      field(t("terminal"), id), field(t("filter"), wanted, t("filter.hint")),
      h("p", { class: "buttons" }, h("button", {}, t("find")), may("operate") && [forChosen,
        filter && h("a", { class: "button", href: `#/new-order${query({ filter })}` }, t("order.filter"))])));
  const tick = (terminal) => h("input", {
    type: "checkbox", name: `choose-${terminal}`, "aria-label": t("choose", { terminal }), checked: chosen.has(terminal),
    onchange: (event) => { chosen[event.target.checked ? "add" : "delete"](terminal); event.target.toggleAttribute("checked", event.target.checked); count(); },
  });
  const refresh = paged(root, async (after) => {
    const page = await get(`terminals${query({ filter, after, limit: SIZE })}`);
    const rows = page.terminals.map((each) => [
      ...(may("operate") ? [tick(each.id)] : []),
      to(`terminals/${encodeURIComponent(each.id)}`, each.id), link(each.online), each.product, each.version, each.attributes.substation, each.attributes.feeder, each.tags.join(", "), time(each.lastSeen),
      each.job ? to(`jobs/${each.job}`, t("job.underway")) : null,
    ]);
    const columns = [...(may("operate") ? [[t("chosen")]] : []), [t("terminal")], [t("link")], [t("product")], [t("version")], [t("attribute.substation")], [t("attribute.feeder")], [t("tags")], [t("seen")], [t("job")]];
    return [table(t("terminals"), columns, rows, t("terminals.none")), page.next];
  });
  await refresh();
  return refresh;
}
