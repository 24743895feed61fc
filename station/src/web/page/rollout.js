// One rollout: its waves, what it waits for, failures with what to do, and what can be done with it.
import { Refused, get, may, post, query } from "./api.js";
import { ask, facts, field, h, options, say, swap, table } from "./dom.js";
import { bytes, count, seconds, time, to } from "./format.js";
import { paged } from "./list.js";
import { countsBar, countsTold, rolloutState, total } from "./rollouts.js";
import { t } from "./text.js";
import { advice } from "./words.js";

const TARGETS = ["waiting", "unreachable", "active", "success", "failed", "cancelled", "expired", "left-out"];
// What can be done in which state; approving is another person's act.
const ACTS = { draft: ["start", "stop"], approval: ["approve", "stop"], running: ["next", "pause", "stop"], paused: ["resume", "retry", "stop"], stopped: ["resume", "retry", "revert"], ended: ["retry", "revert"] };

export async function rollout(root, { id }) {
  const title = h("h1", {}, t("rollout"));
  const [acts, about, waves, wrong, left] = [h("p", { class: "buttons" }), h("section", { "aria-live": "polite" }), h("section", { id: "waves", class: "scroll" }), h("section", { id: "failures" }), h("section", { class: "scroll" })];
  const list = h("section", {}, h("h2", {}, t("terminals")));
  root.append(title, acts, about, waves, wrong, left, list);
  const which = h("select", { name: "state", onchange: () => targets() }, options([["", t("all")], ...TARGETS.map((word) => [word, t(`target.${word}`)])], ""));
  list.append(field(t("only"), which));
  const targets = paged(list, async (after) => {
    const page = await get(`rollouts/${id}/targets${query({ state: which.value, after, limit: 25 })}`);
    const rows = page.targets.map((one) => [to(`terminals/${encodeURIComponent(one.terminal)}`, one.terminal), one.wave || null, t(`target.${one.state}`), one.word && h("code", {}, one.word),
      one.waitsFor && t(`waits.${one.waitsFor}`), one.risk && t(`risk.${one.risk}`), bytes(one.bytes), one.job ? to(`jobs/${one.job}`, one.job) : null]);
    return [table(t("terminals"), [[t("terminal")], [t("wave")], [t("state")], [t("word")], [t("waits-for")], [t("risk")], [t("size"), "number"], [t("job")]], rows), page.next];
  });
  const refresh = async () => {
    const one = await get(`rollouts/${id}`);
    title.textContent = t("rollout.title", { name: one.name });
    swap(about, what(one));
    swap(waves, chart(one));
    swap(wrong, await failures(one.failures));
    const reasons = Object.entries(one.leftOut).map(([word, number]) => [t(`skipped.${word}`), count(number)]);
    swap(left, reasons.length ? table(t("left-out"), [[t("why")], [t("terminals"), "number"]], reasons) : []);
    const possible = (ACTS[one.state] ?? []).filter((act) => may(act === "approve" ? "approve" : "operate"));
    swap(acts, possible.map((act) => button(id, act, refresh)));
    await targets();
  };
  await refresh();
  return refresh;
}

function what(one) {
  const stop = one.stop && (one.stop.toReach ? t("stop.left", { n: count(one.stop.toReach), linked: count(one.stop.linked) }) : t("stop.reached", { time: one.stop.seconds === null ? "–" : seconds(one.stop.seconds) }));
  return [countsBar(one.counts), h("p", {}, rolloutState(one), " · ", countsTold(one.counts)), one.message ? h("p", { role: "note" }, one.message) : null,
    facts([[t("package"), to(`packages/${one.package}`, one.version)], [t("type"), one.type], [t("planned"), time(one.createdAt)], [t("by"), one.createdBy], [t("started"), time(one.startedAt)],
      [t("started-by"), one.startedBy], [t("approved-by"), one.approvedBy], [t("expires"), time(one.expiresAt)], [t("budget"), bytes(one.budget)], [t("stop.effect"), stop]])];
}

// The waves as bars, with the thresholds of each.
function chart(one) {
  const rows = one.waves.map((wave, index) => {
    const plan = one.plan.waves[index] ?? {};
    const risks = Object.entries(wave.risks).map(([word, number]) => `${t(`risk.${word}`)}: ${count(number)}`).join(", ");
    return [wave.number, time(wave.openedAt) ?? t("wave.closed"), [countsBar(wave.counts)], total(wave.counts) ? countsTold(wave.counts) : null, threshold(plan), risks, bytes(wave.bytes)];
  });
  return table(t("waves"), [[t("wave")], [t("opened")], [t("progress"), "wide"], [t("terminals")], [t("threshold")], [t("risk")], [t("bytes"), "number"]], rows);
}

function threshold({ failure, success, byHand }) {
  const parts = [];
  if (failure?.count) parts.push(t("threshold.count", { n: failure.count }));
  if (failure?.percent) parts.push(t("threshold.percent", { n: failure.percent }));
  if (failure?.words?.length) parts.push(t("threshold.words", { words: failure.words.join(", ") }));
  if (success) parts.push(t("threshold.success", { n: success }));
  if (byHand) parts.push(t("by-hand"));
  return parts.join("; ");
}

async function failures(groups) {
  if (groups.length === 0) return [];
  const all = await Promise.all(groups.map(async ({ word, number }) => h("li", {}, h("p", {}, h("code", {}, word), " ", h("strong", {}, `× ${count(number)}`)), await advice(word))));
  return [h("h2", {}, t("failures")), h("ul", { class: "advice-list" }, all)];
}

function button(id, act, refresh) {
  const kind = { stop: "danger", start: "primary", approve: "primary", resume: "primary" }[act];
  return h("button", { type: "button", class: kind, onclick: async () => {
    if (act === "stop" && !(await ask(t("act.stop"), t("act.stop.ask"), t("act.stop")))) return;
    try {
      const done = await post(`rollouts/${id}/${act}`, {});
      if (act === "revert") location.hash = `#/rollouts/${done.id}`;
      else await refresh();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      say(error.message || t("unreachable"), true);
    }
  } }, t(`act.${act}`));
}
