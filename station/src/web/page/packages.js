// Packages: upload, verification, who runs them, deltas.
import { Refused, get, may, post, query, remove, upload } from "./api.js";
import { ask, facts, field, h, options, progress, say, swap, table } from "./dom.js";
import { bytes, count, running, time, to } from "./format.js";
import { t } from "./text.js";
import { advice } from "./words.js";

export async function packages(root) {
  root.append(h("h1", {}, t("packages")));
  const [list, made] = [h("section", { class: "scroll" }), h("section", { class: "scroll" })];
  const refresh = async () => {
    const [all, deltas] = await Promise.all([get("packages"), get("deltas")]);
    const rows = all.packages.map((one) => [to(`packages/${one.id}`, one.version), one.product, one.target ? t("delta") : t("whole"), one.kind, bytes(one.size), one.signer, time(one.uploadedAt), one.uploadedBy]);
    swap(list, table(t("packages"), [[t("version")], [t("product")], [t("file")], [t("type")], [t("size"), "number"], [t("signer")], [t("uploaded")], [t("by")]], rows, t("packages.none")));
    const version = (id) => all.packages.find((one) => one.id === id)?.version ?? id;
    const asked = deltas.deltas.map((one) => [one.id, `${version(one.base)} → ${version(one.target)}`, t(`delta.${one.state}`), one.state === "making" ? progress(one.progress, t("progress")) : one.message,
      bytes(one.size), one.package ? to(`packages/${one.package}`, one.package) : null, one.createdBy]);
    swap(made, table(t("deltas"), [[t("id")], [t("versions")], [t("state")], [t("message")], [t("size"), "number"], [t("package")], [t("by")]], asked, t("deltas.none")));
  };
  if (may("operate")) root.append(form(refresh));
  root.append(list, made);
  await refresh();
  return refresh;
}

function form(refresh) {
  const file = h("input", { type: "file", name: "file", accept: ".dau", required: true });
  const told = h("div", { role: "status", id: "uploaded" });
  const button = h("button", { class: "primary" }, t("upload"));
  const send = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const done = await upload("packages", file.files[0], (percent) => swap(told, percent < 100 ? progress(percent, t("upload")) : t("verifying")));
      const text = t(done.isNew ? "uploaded.new" : "uploaded.known", { version: done.version, product: done.product, signer: done.signer });
      swap(told, h("p", { class: "good" }, `✓ ${text} `, to(`packages/${done.id}`, t("show"))));
      await refresh();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      swap(told, h("p", { class: "bad" }, `✗ ${error.message || t("unreachable")} `, error.word ? h("code", {}, error.word) : null), await advice(error.word));
    } finally {
      button.disabled = false;
    }
  };
  return h("form", { class: "filter", onsubmit: send }, field(t("upload.file"), file), h("p", { class: "buttons" }, button), told);
}

export async function onePackage(root, { id }) {
  const one = await get(`packages/${id}`);
  const runs = h("section", { id: "runs" });
  root.append(h("h1", {}, `${one.product} ${one.version}`), may("operate") ? acts(one) : "",
    h("section", {}, facts([[t("name"), one.name], [t("type"), one.kind], [t("file"), one.target ? t("delta") : t("whole")], [t("size"), bytes(one.size)], [t("created"), time(one.created)],
      [t("rollback-index"), one.rollbackIndex], [t("signer"), one.signer], [t("signer.fingerprint"), h("code", {}, one.signerFingerprint)], [t("sha256"), h("code", {}, one.fileSha256)],
      [t("sha256.manifest"), h("code", {}, one.manifestSha256)], [t("uploaded"), time(one.uploadedAt)], [t("by"), one.uploadedBy]])), runs);
  if (may("operate") && !one.target) root.append(await deltaForm(one));
  const refresh = async () => {
    const fleet = await get("fleet");
    const group = fleet.versions.find((each) => each.product === one.product && each.version === one.version);
    swap(runs, h("h2", {}, t("runs")), h("p", {}, to(`terminals${query({ filter: running(one.product, one.version) })}`, t("runs.n", { n: count(group?.terminals ?? 0) }))));
  };
  await refresh();
  return refresh;
}

function acts(one) {
  const drop = async () => {
    if (!(await ask(t("package.remove"), t("package.remove.ask", { name: one.name }), t("package.remove")))) return;
    try {
      await remove(`packages/${one.id}`);
      location.hash = "#/packages";
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      say(error.message, true);
    }
  };
  return h("p", { class: "buttons" }, one.target ? null : h("a", { class: "button primary", href: `#/new-order?package=${one.id}` }, t("order.new")),
    h("button", { type: "button", class: "danger", onclick: drop }, t("package.remove")));
}

async function deltaForm(target) {
  const all = (await get("packages")).packages;
  const bases = all.filter((each) => each.product === target.product && each.id !== target.id && !each.target && each.kind !== "recovery");
  if (bases.length === 0) return "";
  const base = h("select", { name: "base" }, options(bases.map((each) => [String(each.id), each.version]), ""));
  const send = async (event) => {
    event.preventDefault();
    try {
      await post(`packages/${target.id}/deltas`, { base: Number(base.value) });
      location.hash = "#/packages";
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      say(error.message, true);
    }
  };
  return h("form", { class: "filter", onsubmit: send }, h("h2", {}, t("delta.make")), field(t("delta.base"), base), h("p", { class: "buttons" }, h("button", {}, t("delta.make"))));
}
