// What an operator sees first: what needs attention, then the fleet.
import { get, health, query } from "./api.js";
import { bar, facts, h, swap, table } from "./dom.js";
import { bytes, count, isBad, running, time, to } from "./format.js";
import { orderBar, orderTold } from "./orders.js";
import { countsBar, countsTold, rolloutState } from "./rollouts.js";
import { t } from "./text.js";

// Days left from which a certificate is told of, and from which it needs attention.
const SHOWN = 60;
const SOON = 30;

export async function overview(root) {
  const parts = Object.fromEntries(["attention", "rollouts", "underway", "fleet", "station"].map((name) => [name, h("section", { id: name })]));
  root.append(h("h1", {}, t("overview")), h("div", { class: "grid" }, Object.values(parts)));
  const refresh = async () => {
    const [fleet, page, planned, state] = await Promise.all([get("fleet"), get("orders?limit=100"), get("rollouts?limit=20"), health()]);
    const underway = page.orders.filter((order) => order.finished < order.jobs || order.state === "making" || order.state === "cancelling");
    underway.sort((a, b) => failures(b) - failures(a));
    const running = planned.rollouts.filter((one) => one.state !== "ended" && one.state !== "draft");
    swap(parts.attention, attention(state, underway, running));
    swap(parts.rollouts, rolling(running));
    swap(parts.fleet, versions(fleet));
    swap(parts.underway, under(underway));
    swap(parts.station, station(state));
  };
  await refresh();
  return refresh;
}

export function failures(order) {
  return Object.entries(order.counts).reduce((sum, [word, number]) => sum + (isBad(word) ? number : 0), 0);
}

function attention(state, underway, running) {
  const points = [];
  if (!state) points.push(t("unreachable"));
  if (state && !state.broker) points.push(t("broker.away"));
  if (state && !state.database) points.push(t("database.away"));
  if (state && !state.disk) points.push(t("disk.bad", { free: bytes(state.freeBytes) }));
  for (const { name, daysLeft } of state?.certificates ?? []) {
    if (daysLeft < SOON) points.push(t(daysLeft < 0 ? "certificate.ended" : "certificate.soon", { name, n: daysLeft }));
  }
  for (const one of running) {
    if (["approval", "paused", "stopped"].includes(one.state)) points.push([to(`rollouts/${one.id}`, one.name), `: ${one.message ?? t(`rollout.${one.state}`)}`]);
  }
  for (const order of underway) {
    const bad = failures(order);
    if (bad) points.push([to(`orders/${order.id}`, t("order.named", { id: order.id, version: order.version })), ` ${t("failures.n", { n: count(bad) })}`]);
  }
  if (points.length === 0) return [h("h2", {}, t("attention")), h("p", { class: "good" }, `✓ ${t("attention.none")}`)];
  return [h("h2", {}, t("attention")), h("ul", { class: "points" }, points.map((point) => h("li", {}, point)))];
}

function rolling(running) {
  if (running.length === 0) return [];
  const rows = running.map((one) => [to(`rollouts/${one.id}`, one.name), one.version, rolloutState(one), [countsBar(one.counts)], countsTold(one.counts)]);
  return [h("h2", {}, t("rollouts")), table(t("rollouts.open"), [[t("name")], [t("version")], [t("state")], [t("progress"), "wide"], [t("terminals")]], rows)];
}

function versions(fleet) {
  const rows = fleet.versions.map((group) => [
    group.product || t("unknown"),
    to(`terminals${query({ filter: running(group.product, group.version) })}`, group.version || t("unknown")),
    [bar([["good", group.online], ["still", group.terminals - group.online]], fleet.terminals)],
    count(group.terminals),
    count(group.online),
  ]);
  return [
    h("h2", {}, t("fleet")),
    h("p", { class: "figures" }, h("strong", {}, count(fleet.terminals)), ` ${t("fleet.terminals")} · `, h("strong", {}, count(fleet.online)), ` ${t("online")}`),
    table(t("fleet.versions"), [[t("product")], [t("version")], [t("share"), "wide"], [t("terminals"), "number"], [t("fleet.online"), "number"]], rows),
  ];
}

function under(orders) {
  const rows = orders.slice(0, 10).map((order) => [
    to(`orders/${order.id}`, order.id), order.version, [orderBar(order)], orderTold(order), time(order.createdAt),
  ]);
  return [
    h("h2", {}, t("underway")),
    table(t("underway.worst"), [[t("order")], [t("version")], [t("progress"), "wide"], [t("jobs")], [t("ordered")]], rows, t("underway.none")),
  ];
}

function station(state) {
  if (!state) return [h("h2", {}, t("station")), h("p", { class: "bad" }, t("unreachable"))];
  const told = (good) => h("span", { class: `state ${good ? "good" : "bad"}` }, `${good ? "✓" : "✗"} ${t(good ? "works" : "works.not")}`);
  const rows = state.certificates.filter(({ daysLeft }) => daysLeft < SHOWN).map(({ name, daysLeft }) => [name, h("span", { class: daysLeft < SOON ? "bad" : "" }, t("days", { n: count(daysLeft) }))]);
  return [
    h("h2", {}, t("station")),
    facts([[t("broker"), told(state.broker)], [t("database"), told(state.database)],
      [t("disk"), [told(state.disk), ` ${t("disk.free", { free: bytes(state.freeBytes) })}`]], [t("station.version"), state.version]]),
    table(t("certificates"), [[t("certificate")], [t("certificate.left"), "number"]], rows, t("certificates.good", { n: SHOWN })),
  ];
}
