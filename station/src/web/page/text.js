// Languages. Every text of the page is in en.js and zh.js; a test compares them.
import en from "./en.js";
import zh from "./zh.js";

const KEY = "dau-language";
const LANGUAGES = { en, "zh-CN": zh };
let current;

function preferred() {
  const kept = localStorage.getItem(KEY);
  if (kept in LANGUAGES) return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
}

export function language() {
  return current;
}

export function speak(name = preferred()) {
  current = name;
  document.documentElement.lang = name;
}

export function choose(name) {
  localStorage.setItem(KEY, name);
  speak(name);
}

// Returns a text, with {names} replaced by values. A word of a later station stands for itself.
export function t(key, values = {}) {
  const text = LANGUAGES[current][key] ?? key.slice(key.indexOf(".") + 1);
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}
