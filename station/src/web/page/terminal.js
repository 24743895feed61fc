// One terminal: what it runs, what it does now, and its jobs.
import { Refused, get, may, post, query } from "./api.js";
import { ask, facts, h, progress, say, swap, table } from "./dom.js";
import { bytes, link, state, time, to } from "./format.js";
import { labels } from "./labels.js";
import { paged } from "./list.js";
import { t } from "./text.js";

export async function terminal(root, { id }) {
  const path = `terminals/${encodeURIComponent(id)}`;
  const [about, now, acts] = [h("section"), h("section", { "aria-live": "polite" }), h("p", { class: "buttons" })];
  const history = h("section", {}, h("h2", {}, t("history")));
  const noted = h("section");
  root.append(h("h1", {}, id), acts, about, now, noted, history);
  if (may("operate")) {
    acts.append(
      h("a", { class: "button primary", href: `#/new-order${query({ terminals: id })}` }, t("order.upgrade")),
      h("button", { type: "button", class: "danger", onclick: () => stop(path, id) }, t("terminal.stop")));
  }
  const jobs = paged(history, async (before) => {
    const page = await get(`jobs${query({ terminal: id, before, limit: 20 })}`);
    const rows = page.jobs.map((job) => [to(`jobs/${job.id}`, job.id), job.version, job.type, state(job.result?.outcome ?? job.state),
      bytes(job.bytesUsed), time(job.createdAt), time(job.finishedAt), job.createdBy]);
    const columns = [[t("job")], [t("version")], [t("type")], [t("state")], [t("bytes"), "number"], [t("ordered")], [t("finished")], [t("by")]];
    return [table(t("jobs"), columns, rows, t("jobs.none")), page.next];
  });
  const refresh = async () => {
    const one = await get(path);
    const current = one.job ? await get(`jobs/${one.job}`) : null;
    swap(about, facts([[t("link"), link(one.online)], [t("seen"), time(one.lastSeen)], [t("product"), one.product], [t("version"), one.version],
      [t("kernel"), one.kernelSlot ? `${one.kernel} (${one.kernelSlot})` : one.kernel], [t("rollback-index"), one.rollbackIndex],
      [t("free"), bytes(one.freeBytes)], [t("busy-with"), one.busyWith], [t("kept"), one.packages.length ? h("ul", { class: "digests" }, one.packages.map((each) => h("li", {}, h("code", {}, each)))) : null]]));
    swap(now, current ? [h("h2", {}, t("now")), h("p", {}, to(`jobs/${current.id}`, t("job.named", { id: current.id, version: current.version })), " ", state(current.state), " ", progress(current.progress, t("progress")))] : []);
    await jobs();
  };
  await refresh();
  noted.append(...labels(await get(path), path));
  return refresh;
}

async function stop(path, id) {
  if (!(await ask(t("terminal.stop"), t("terminal.stop.ask", { id }), t("terminal.stop")))) return;
  try {
    await post(`${path}/cancel`, {});
    say(t("asked"));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say(error.message, true);
  }
}
