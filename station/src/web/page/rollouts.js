// The list of rollouts.
import { get, may, query } from "./api.js";
import { bar, h, table } from "./dom.js";
import { count, time, to } from "./format.js";
import { paged } from "./list.js";
import { t } from "./text.js";

export async function rollouts(root) {
  root.append(h("h1", {}, t("rollouts")));
  if (may("operate")) root.append(h("p", { class: "buttons" }, h("a", { class: "button primary", href: "#/new-rollout" }, t("rollout.new"))));
  const refresh = paged(root, async (before) => {
    const page = await get(`rollouts${query({ before, limit: 25 })}`);
    const rows = page.rollouts.map((one) => [to(`rollouts/${one.id}`, one.name), one.version, rolloutState(one), [countsBar(one.counts)], countsTold(one.counts), time(one.createdAt), one.createdBy]);
    return [table(t("rollouts"), [[t("name")], [t("version")], [t("state")], [t("progress"), "wide"], [t("terminals")], [t("planned")], [t("by")]], rows, t("rollouts.none")), page.next];
  });
  await refresh();
  return refresh;
}

const MOODS = { running: "busy", stopped: "bad", paused: "bad", approval: "busy", ended: "good" };

export function rolloutState(one) {
  return h("span", { class: `state ${MOODS[one.state] ?? "still"}` }, t(`rollout.${one.state}`));
}

const number = (counts, word) => counts[word] ?? 0;
export const total = (counts) => Object.values(counts).reduce((sum, each) => sum + each, 0);

export function countsBar(counts) {
  const still = number(counts, "cancelled") + number(counts, "expired");
  return bar([["good", number(counts, "success")], ["bad", number(counts, "failed")], ["busy", number(counts, "active")], ["still", still]], total(counts));
}

// The bar in words.
export function countsTold(counts) {
  const parts = [t("done.of", { n: count(number(counts, "success")), all: count(total(counts)) })];
  if (number(counts, "active")) parts.push(t("busy.n", { n: count(number(counts, "active")) }));
  const bad = number(counts, "failed");
  return [parts.join(", "), bad ? h("span", { class: "bad" }, `, ${t("failures.n", { n: count(bad) })}`) : null];
}
