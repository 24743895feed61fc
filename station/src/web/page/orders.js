// The list of orders.
import { get, may, query } from "./api.js";
import { bar, h, table } from "./dom.js";
import { count, isBad, time, to } from "./format.js";
import { paged } from "./list.js";
import { t } from "./text.js";

export async function orders(root) {
  root.append(h("h1", {}, t("orders")));
  if (may("operate")) root.append(h("p", { class: "buttons" }, h("a", { class: "button primary", href: "#/new-order" }, t("order.new"))));
  const refresh = paged(root, async (before) => {
    const page = await get(`orders${query({ before, limit: 25 })}`);
    const rows = page.orders.map((order) => [to(`orders/${order.id}`, order.id), order.version, order.type, [orderBar(order)], orderTold(order),
      time(order.createdAt), order.createdBy]);
    const columns = [[t("order")], [t("version")], [t("type")], [t("progress"), "wide"], [t("jobs")], [t("ordered")], [t("by")]];
    return [table(t("orders"), columns, rows, t("orders.none")), page.next];
  });
  await refresh();
  return refresh;
}

function kinds(order) {
  const sum = (of) => Object.entries(order.counts).reduce((all, [word, number]) => all + (of(word) ? number : 0), 0);
  const [good, bad] = [sum((word) => word === "success"), sum(isBad)];
  const still = sum((word) => word === "cancelled");
  const waits = sum((word) => word === "queued" || word === "ordered");
  return { good, bad, still, waits, busy: order.jobs - good - bad - still - waits };
}

export function orderBar(order) {
  const { good, bad, busy, still } = kinds(order);
  return bar([["good", good], ["bad", bad], ["busy", busy], ["still", still]], Math.max(order.jobs, order.terminals));
}

// The bar in words.
export function orderTold(order) {
  const { good, bad, busy, waits } = kinds(order);
  const parts = [t("done.of", { n: count(good), all: count(order.jobs) })];
  if (busy) parts.push(t("busy.n", { n: count(busy) }));
  if (waits) parts.push(t("waits.n", { n: count(waits) }));
  if (order.state === "making" || order.state === "cancelling") parts.push(t(`state.${order.state}`));
  return [parts.join(", "), bad ? h("span", { class: "bad" }, `, ${t("failures.n", { n: count(bad) })}`) : null];
}
