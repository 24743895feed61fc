// The form of an order.
import { Refused, get, post } from "./api.js";
import { field, h, options, say } from "./dom.js";
import { t } from "./text.js";

const TYPES = ["full", "rootfs", "kernel", "recovery"];

export async function place(root, { parameters }) {
  const all = (await get("packages")).packages.filter((one) => !one.target);
  const pick = h("select", { name: "package", required: true }, options(all.map((one) => [String(one.id), `${one.product} ${one.version} (${one.kind})`]), parameters.get("package") ?? ""));
  const terminals = h("textarea", { name: "terminals", rows: 3, spellcheck: "false" }, parameters.get("terminals") ?? "");
  const filter = h("input", { name: "filter", value: parameters.get("filter") ?? "", autocomplete: "off", spellcheck: "false" });
  const whole = h("input", { type: "checkbox", name: "all", onchange: () => { terminals.disabled = filter.disabled = whole.checked; } });
  const type = h("select", { name: "type" }, options([["", t("type.default")], ...TYPES.map((word) => [word, word])], ""));
  const number = (name) => h("input", { type: "number", name, min: 0, step: 1, inputmode: "numeric" });
  const [policy, spread, expire, budget] = ["policy", "spread", "expire", "budget"].map(number);
  const force = h("input", { type: "checkbox", name: "force" });
  // A repetition after a broken connection is the same order, and has the same key.
  let [key, last] = ["", ""];
  const send = async (event) => {
    event.preventDefault();
    const order = { package: Number(pick.value), policy: Number(policy.value), spread: Number(spread.value), force: force.checked };
    if (whole.checked) order.all = true;
    else if (filter.value.trim()) order.filter = filter.value.trim();
    else order.terminals = terminals.value.split(/[\s,]+/).filter(Boolean);
    if (type.value) order.type = type.value;
    if (expire.value) order.expire = Number(expire.value);
    if (budget.value) order.budget = Math.round(Number(budget.value) * 1e6);
    const content = JSON.stringify(order);
    if (content !== last) [key, last] = [crypto.randomUUID(), content];
    try {
      const placed = await post("orders", order, key);
      location.hash = `#/orders/${placed.id}`;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      say(error.message || t("unreachable"), true);
    }
  };
  root.append(h("h1", {}, t("order.new")), h("form", { class: "order", onsubmit: send },
    field(t("package"), pick), field(t("terminals"), terminals, t("order.terminals.hint")), field(t("filter"), filter, t("order.filter.hint")), field(t("order.all"), whole),
    field(t("type"), type), field(t("policy.seconds"), policy, t("policy.hint")), field(t("spread.seconds"), spread, t("spread.hint")),
    field(t("expire.seconds"), expire), field(t("budget.mb"), budget, t("budget.hint")), field(t("force"), force, t("force.hint")),
    h("p", { class: "buttons" }, h("button", { class: "primary" }, t("order.place")))));
}
