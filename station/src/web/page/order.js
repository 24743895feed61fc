// One order: its counts, its failures with what to do, and its jobs.
import { Refused, get, may, post, query } from "./api.js";
import { ask, facts, field, h, options, progress, say, swap, table } from "./dom.js";
import { bytes, count, seconds, state, time, to } from "./format.js";
import { paged } from "./list.js";
import { orderBar, orderTold } from "./orders.js";
import { t } from "./text.js";
import { advice } from "./words.js";

const STATES = ["queued", "ordered", "accepted", "downloading", "verifying", "backing-up", "armed", "installing", "trial", "updating-recovery", "rolling-back"];
const OUTCOMES = ["success", "failed", "rolled-back", "refused", "cancelled", "expired"];

export async function order(root, { id }) {
  const [about, wrong] = [h("section", { "aria-live": "polite" }), h("section", { id: "failures" })];
  const acts = h("p", { class: "buttons" });
  const list = h("section", { id: "jobs" }, h("h2", {}, t("jobs")));
  const left = h("section");
  root.append(h("h1", {}, t("order.title", { id })), acts, about, wrong, list, left);
  const which = h("select", { name: "which", onchange: () => jobs() }, options([["", t("all")], ...OUTCOMES.map((word) => [`outcome=${word}`, t("state." + word)]), ...STATES.map((word) => [`state=${word}`, t("state." + word)])], ""));
  list.append(field(t("only"), which));
  const jobs = paged(list, async (before) => {
    const page = await get(`jobs${query({ order: id, before, limit: 25 })}${which.value ? `&${which.value}` : ""}`);
    const rows = page.jobs.map((job) => [to(`terminals/${encodeURIComponent(job.terminal)}`, job.terminal), state(job.result?.outcome ?? job.state),
      job.result ? (job.result.word === job.result.outcome ? null : h("code", {}, job.result.word)) : progress(job.progress, `${job.terminal}: ${t("progress")}`), bytes(job.bytesUsed), time(job.finishedAt), to(`jobs/${job.id}`, job.id)]);
    return [table(t("jobs"), [[t("terminal")], [t("state")], [t("word")], [t("bytes"), "number"], [t("finished")], [t("job")]], rows, t("jobs.none")), page.next];
  });
  const skipped = paged(left, async (after) => {
    const page = await get(`orders/${id}/skipped${query({ after, limit: 25 })}`);
    if (after === null && page.skipped.length === 0) return [[], null];
    const rows = page.skipped.map((each) => [to(`terminals/${encodeURIComponent(each.terminal)}`, each.terminal), t(`skipped.${each.reason}`), each.job ? to(`jobs/${each.job}`, each.job) : null]);
    return [table(t("skipped"), [[t("terminal")], [t("why")], [t("job")]], rows), page.next];
  });
  const refresh = async () => {
    const [one, failures] = await Promise.all([get(`orders/${id}`), get(`orders/${id}/failures`)]);
    swap(about, [orderBar(one), h("p", {}, orderTold(one)), facts([[t("package"), to(`packages/${one.package}`, one.version)], [t("type"), one.type], [t("ordered"), time(one.createdAt)],
      [t("by"), one.createdBy], [t("terminals"), count(one.terminals)], [t("policy"), one.policy ? seconds(one.policy) : null], [t("spread"), one.spread ? seconds(one.spread) : null],
      [t("budget"), bytes(one.budget)], [t("expires"), time(one.expiresAt)], [t("cancelled-by"), one.cancelledBy]])]);
    swap(wrong, await grouped(failures.failures));
    const over = one.finished >= one.jobs && one.state !== "making";
    swap(acts, may("operate") && !over ? h("button", { type: "button", class: "danger", onclick: () => stop(id) }, t("order.cancel")) : null);
    await jobs();
    await skipped();
  };
  await refresh();
  return refresh;
}

// The failures by word, the most frequent first, each with the guide's advice.
async function grouped(failures) {
  if (failures.length === 0) return [];
  const groups = await Promise.all(failures.map(async (group) => h("li", {},
    h("p", {}, state(group.outcome), " ", h("code", {}, group.word), " ", h("strong", {}, `× ${count(group.jobs)}`), " ",
      group.terminals.map((each, index) => [index ? ", " : "", to(`terminals/${encodeURIComponent(each)}`, each)]), group.jobs > group.terminals.length ? " …" : ""),
    await advice(group.word))));
  return [h("h2", {}, t("failures")), h("ul", { class: "advice-list" }, groups)];
}

async function stop(id) {
  if (!(await ask(t("order.cancel"), t("order.cancel.ask"), t("order.cancel")))) return;
  try {
    await post(`orders/${id}/cancel`, {});
    say(t("asked"));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say(error.message, true);
  }
}
