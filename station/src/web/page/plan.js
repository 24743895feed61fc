// The form of a rollout: one terminal, one per cent, ten, and the rest, or a plan of one's own.
import { Refused, get, post } from "./api.js";
import { field, h, options, say } from "./dom.js";
import { t } from "./text.js";

const FAILURE = { percent: 2, least: 50, words: ["rolled-back"] };
const WAVES = [
  { take: { count: 1 }, failure: { count: 1 }, byHand: true },
  { take: { percent: 1 }, failure: { count: 1 } },
  { take: { percent: 10 }, failure: FAILURE },
  { take: "rest", failure: FAILURE },
];

export async function plan(root) {
  const all = (await get("packages")).packages.filter((one) => !one.target);
  const pick = h("select", { name: "package", required: true }, options(all.map((one) => [String(one.id), `${one.product} ${one.version} (${one.kind})`]), ""));
  const [name, filter] = ["name", "filter"].map((each) => h("input", { name: each, autocomplete: "off", spellcheck: "false" }));
  const waves = h("textarea", { name: "waves", rows: 8, spellcheck: "false" }, JSON.stringify(WAVES, null, 1).replace(/\n {2,}/g, " ").replace(/\n \}/g, " }"));
  const [from, till] = ["from", "till"].map((each) => h("input", { type: "time", name: each }));
  const zone = h("input", { name: "zone", value: Intl.DateTimeFormat().resolvedOptions().timeZone, autocomplete: "off" });
  const send = async (event) => {
    event.preventDefault();
    try {
      const wanted = { package: Number(pick.value), plan: { waves: JSON.parse(waves.value) } };
      if (name.value.trim()) wanted.name = name.value.trim();
      if (filter.value.trim()) wanted.filter = filter.value.trim();
      else wanted.all = true;
      if (from.value && till.value) wanted.plan.windows = { weekly: [{ days: ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], from: from.value, to: till.value }], zone: zone.value };
      const planned = await post("rollouts", wanted);
      location.hash = `#/rollouts/${planned.id}`;
    } catch (error) {
      if (error instanceof SyntaxError) say(t("waves.malformed", { reason: error.message }), true);
      else if (error instanceof Refused) say(error.message || t("unreachable"), true);
      else throw error;
    }
  };
  root.append(h("h1", {}, t("rollout.new")), h("form", { class: "order", onsubmit: send },
    field(t("package"), pick), field(t("name"), name), field(t("filter"), filter, t("plan.filter.hint")), field(t("waves"), waves, t("waves.hint")),
    field(t("window.from"), from, t("window.hint")), field(t("window.till"), till), field(t("zone"), zone),
    h("p", { class: "buttons" }, h("button", { class: "primary" }, t("rollout.plan")))));
}
