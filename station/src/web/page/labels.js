// What the utility notes of a terminal: attributes and tags.
import { Refused, may, patch } from "./api.js";
import { facts, field, h, say } from "./dom.js";
import { t } from "./text.js";

const NAMES = ["region", "substation", "feeder", "ring", "position", "cell", "model", "owner", "contact", "zone"];

export function labels(one, path) {
  const title = h("h2", {}, t("noted"));
  if (!may("operate")) {
    return [title, facts([...NAMES.map((name) => [t(`attribute.${name}`), one.attributes[name]]), [t("tags"), one.tags.join(", ")]])];
  }
  const inputs = NAMES.map((name) => h("input", { name, value: one.attributes[name] ?? "", autocomplete: "off", spellcheck: "false" }));
  const tags = h("input", { name: "tags", value: one.tags.join(" "), autocomplete: "off", spellcheck: "false" });
  let known = new Set(one.tags);
  const keep = async (event) => {
    event.preventDefault();
    const now = new Set(tags.value.split(/[\s,]+/).filter(Boolean));
    const content = {
      attributes: Object.fromEntries(inputs.map((input) => [input.name, input.value.trim() || null])),
      tag: [...now].filter((tag) => !known.has(tag)),
      untag: [...known].filter((tag) => !now.has(tag)),
    };
    try {
      await patch(path, content);
      known = now;
      say(t("noted.kept"));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      say(error.message || t("unreachable"), true);
    }
  };
  return [title, h("form", { class: "labels", onsubmit: keep },
    NAMES.map((name, index) => field(t(`attribute.${name}`), inputs[index])), field(t("tags"), tags, t("tags.hint")),
    h("p", { class: "buttons" }, h("button", {}, t("noted.keep"))))];
}
