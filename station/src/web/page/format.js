// Times, sizes and states as text.
import { language, t } from "./text.js";
import { h } from "./dom.js";

export function time(text) {
  if (!text) return null;
  const shown = new Date(text).toLocaleString(language(), { dateStyle: "short", timeStyle: "medium" });
  return h("time", { datetime: text }, shown);
}

export function count(number) {
  return number.toLocaleString(language());
}

export function bytes(number) {
  if (number === null || number === undefined) return null;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  while (number >= 1000 && power < 4) { number /= 1000; power += 1; }
  const digits = power === 0 ? 0 : 1;
  return `${number.toLocaleString(language(), { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${units[power]}`;
}

export function seconds(number) {
  if (number < 120) return t("seconds", { n: count(Math.round(number)) });
  if (number < 7200) return t("minutes", { n: count(Math.round(number / 60)) });
  return t("hours", { n: count(Math.round(number / 3600)) });
}

export function between(from, to) {
  return from && to ? seconds((Date.parse(to) - Date.parse(from)) / 1000) : null;
}

const BAD = new Set(["failed", "rolled-back", "refused", "expired"]);
const STILL = new Set(["queued", "cancelled", "making", "cancelling"]);

export function mood(word) {
  if (word === "success") return "good";
  if (BAD.has(word)) return "bad";
  return STILL.has(word) ? "still" : "busy";
}

export const isBad = (word) => BAD.has(word);

const MARKS = { good: "✓", bad: "✗", busy: "▸", still: "·" };

// A state or outcome, told by a mark and a word as well as by its colour.
export function state(word) {
  const kind = mood(word);
  return h("span", { class: `state ${kind}` }, h("span", { "aria-hidden": "true" }, MARKS[kind]), ` ${t("state." + word)}`);
}

export function link(online) {
  const kind = online ? "good" : "still";
  return h("span", { class: `state ${kind}` }, h("span", { "aria-hidden": "true" }, online ? "●" : "○"), ` ${t(online ? "online" : "offline")}`);
}

const quoted = (text) => `"${text.replaceAll('"', '""')}"`;

// The filter for the terminals that run a version of a product.
export const running = (product, version) => `product=${quoted(product)} and version=${quoted(version)}`;

export const to = (path, text) => h("a", { href: `#/${path}` }, text);
