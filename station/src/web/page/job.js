// One job: how far it is, its result with what to do, and its record as a timeline.
import { Refused, get, may, post } from "./api.js";
import { ask, facts, h, progress, say, swap } from "./dom.js";
import { between, bytes, mood, seconds, state, time, to } from "./format.js";
import { t } from "./text.js";
import { advice } from "./words.js";

export async function job(root, { id }) {
  const [head, result, record] = [h("section", { "aria-live": "polite" }), h("section", { id: "result" }), h("section", { id: "record" })];
  const acts = h("p", { class: "buttons" });
  root.append(h("h1", {}, t("job.title", { id })), acts, head, result, record);
  const refresh = async () => {
    const one = await get(`jobs/${id}`);
    swap(head, about(one));
    swap(result, one.result ? await told(one.result) : []);
    swap(record, h("h2", {}, t("record")), timeline(one.events));
    swap(acts, may("operate") && !one.result ? [button(id, false), button(id, true)] : []);
  };
  await refresh();
  return refresh;
}

function about(one) {
  const far = one.total ? t("of", { part: bytes(one.bytes ?? 0), whole: bytes(one.total) }) : null;
  const file = one.file && [bytes(one.file.size), one.file.delta ? ` · ${t("delta.saves", { saved: bytes(one.file.saved) })}` : ""];
  return [
    h("p", {}, state(one.result?.outcome ?? one.state), " ", one.result ? null : progress(one.progress, t("progress")), far && !one.result ? ` ${far}` : null),
    facts([[t("terminal"), to(`terminals/${encodeURIComponent(one.terminal)}`, one.terminal)], [t("package"), to(`packages/${one.package}`, one.version)], [t("type"), one.type],
      [t("order"), to(`orders/${one.order}`, one.order)], [t("by"), one.createdBy], [t("ordered"), time(one.createdAt)], [t("accepted"), time(one.acceptedAt)], [t("heard"), time(one.heardAt)],
      [t("finished"), time(one.finishedAt)], [t("took"), between(one.createdAt, one.finishedAt)], [t("file"), file], [t("served"), bytes(one.bytesServed)],
      [t("used"), one.bytesUsed === null ? null : one.budget === null ? bytes(one.bytesUsed) : t("of", { part: bytes(one.bytesUsed), whole: bytes(one.budget) })],
      [t("policy"), one.policy ? seconds(one.policy) : null], [t("expires"), time(one.expiresAt)], [t("cancel-requested"), time(one.cancelRequestedAt)]]),
  ];
}

async function told(result) {
  return [h("h2", {}, t("result")), h("p", {}, state(result.outcome), " ", h("code", {}, result.word), " ", result.message),
    result.otherPackage ? h("p", { class: "bad" }, t("other-package"), " ", h("code", {}, result.otherPackage)) : null,
    result.outcome === "success" ? null : await advice(result.word)];
}

// The record, each event with the time since the one before.
function timeline(events) {
  let last = null;
  return h("ol", { class: "timeline" }, events.map((event) => {
    const since = last && Date.parse(event.at) - Date.parse(last) >= 1000 ? `+${between(last, event.at)}` : null;
    last = event.at;
    return h("li", { class: event.kind === "result" ? mood(event.detail?.outcome ?? "") : event.kind === "state" ? "busy" : null }, h("p", {}, time(event.at), since ? h("span", { class: "since" }, since) : null),
      h("p", {}, h("strong", {}, t(`event.${event.kind}`)), " ", detail(event)));
  }));
}

function detail({ kind, detail }) {
  if (detail === null || typeof detail !== "object") return detail ?? "";
  if (kind === "state") return state(detail.state);
  if (kind === "result") return [state(detail.outcome ?? ""), " ", detail.message ?? ""];
  return Object.entries(detail).filter(([, value]) => value !== null && value !== "" && JSON.stringify(value) !== "{}").map(([name, value], index) => [index ? " · " : "", h("span", { class: "name" }, name), " ", plain(name, value)]);
}

function plain(name, value) {
  if (typeof value === "number") return name === "bytes" || name === "size" ? bytes(value) : String(value);
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

function button(id, abandon) {
  const key = abandon ? "job.abandon" : "job.cancel";
  return h("button", { type: "button", class: "danger", onclick: async () => {
    if (!(await ask(t(key), t(`${key}.ask`), t(key)))) return;
    try {
      await post(`jobs/${id}/cancel`, { abandon });
      say(t("asked"));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      say(error.message, true);
    }
  } }, t(key));
}
