// What a word of a result means and what to do: the operator guide's own text.
import { h } from "./dom.js";
import { language, t } from "./text.js";

const loaded = {};

async function words() {
  const file = language() === "en" ? "en" : "zh";
  loaded[file] ??= fetch(`/page/words.${file}.json`).then((answer) => (answer.ok ? answer.json() : {})).catch(() => ({}));
  return loaded[file];
}

// Text of the guide has code between backquotes and links in Markdown.
function marked(text) {
  return text.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").split("`").map((piece, index) => (index % 2 ? h("code", {}, piece) : piece));
}

export async function advice(word) {
  const found = (await words())[word];
  if (!found) return null;
  return h("dl", { class: "advice" },
    h("div", {}, h("dt", {}, t("meaning")), h("dd", {}, marked(found.meaning))),
    h("div", {}, h("dt", {}, t("what-to-do")), h("dd", {}, marked(found.action))));
}
