// The page's frame: session, navigation, and the view that the address names, kept up to date.
import * as api from "./api.js";
import { h, say, swap } from "./dom.js";
import { choose, language, speak, t } from "./text.js";
import { login } from "./login.js";
import { job } from "./job.js";
import { order } from "./order.js";
import { orders } from "./orders.js";
import { overview } from "./overview.js";
import { onePackage, packages } from "./packages.js";
import { place } from "./place.js";
import { plan } from "./plan.js";
import { rollout } from "./rollout.js";
import { rollouts } from "./rollouts.js";
import { terminal } from "./terminal.js";
import { terminals } from "./terminals.js";

const EVERY = 3000;
const VIEWS = { "": overview, terminals, packages, rollouts, orders, jobs: job, "new-order": place, "new-rollout": plan };
const ONE = { terminals: terminal, packages: onePackage, orders: order, rollouts: rollout };
const PARTS = { jobs: "orders", "new-order": "orders", "new-rollout": "rollouts" };
const THEMES = ["auto", "light", "dark"];
const main = document.getElementById("main");
let timer;
let turn = 0;

function where() {
  const [path, parameters] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/");
  return { name, id: id && decodeURIComponent(id), parameters: new URLSearchParams(parameters) };
}

// Shows the view of the address. A view fills the element and returns what brings it up to date.
async function show() {
  clearTimeout(timer);
  turn += 1;
  frame();
  if (!api.who()) return login(main, entered);
  const { name, id, parameters } = where();
  const view = (id && ONE[name]) || VIEWS[name] || overview;
  const root = h("div", { class: "view" });
  main.replaceChildren(root);
  main.className = "";
  say("");
  const refresh = await guarded(() => view(root, { id, parameters }));
  document.title = `${root.querySelector("h1")?.textContent ?? ""} · dau-station`;
  if (refresh) keep(refresh, turn);
}

// Brings the view up to date while it is looked at.
async function keep(refresh, mine) {
  if (mine !== turn) return;
  if (!document.hidden) await guarded(refresh);
  if (mine === turn) timer = setTimeout(keep, EVERY, refresh, mine);
}

// Says what went wrong; a session that has ended leads to the login.
async function guarded(work) {
  const mine = turn;
  try {
    const done = await work();
    if (mine === turn && document.body.classList.contains("away")) {
      document.body.classList.remove("away");
      say("");
    }
    return done;
  } catch (error) {
    if (mine !== turn) return null;
    if (error.status === 401) {
      api.forget();
      await show();
      say(t(error.word === "token-ended" ? "login.token-ended" : "login.ended"), true);
    } else if (error.status === 0) {
      document.body.classList.add("away");
      say(t("unreachable"), true);
    } else {
      say(error.message, true);
      if (!(error instanceof api.Refused)) throw error;
    }
    return null;
  }
}

function entered() {
  if (!location.hash) location.hash = "#/";
  show();
}

function frame() {
  const { name } = where();
  const nav = document.getElementById("nav");
  const entry = (path, key) => {
    const here = name === path || PARTS[name] === path;
    return h("a", { href: `#/${path}`, "aria-current": here ? "page" : null }, t(key));
  };
  nav.hidden = !api.who();
  nav.setAttribute("aria-label", t("nav"));
  swap(nav, entry("", "overview"), entry("terminals", "terminals"), entry("packages", "packages"), entry("rollouts", "rollouts"), entry("orders", "orders"));
  document.getElementById("skip").textContent = t("skip");
  const theme = document.documentElement.dataset.theme ?? "auto";
  const person = api.who();
  swap(document.getElementById("tools"),
    person ? h("span", { id: "person" }, `${person.name} · ${t("role." + person.role)}`) : null,
    h("button", { type: "button", id: "language", lang: language() === "en" ? "zh-CN" : "en" }, language() === "en" ? "中文" : "English"),
    h("button", { type: "button", id: "theme", title: t("theme") }, t("theme." + theme)),
    person ? h("button", { type: "button", id: "leave" }, t("logout")) : null);
  document.getElementById("language").onclick = () => { choose(language() === "en" ? "zh-CN" : "en"); show(); };
  document.getElementById("theme").onclick = () => {
    const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    localStorage.setItem("dau-theme", next);
    document.documentElement.dataset.theme = next;
    frame();
  };
  const leave = document.getElementById("leave");
  if (leave) leave.onclick = async () => { await guarded(api.logOut); api.forget(); show(); };
}

document.documentElement.dataset.theme = localStorage.getItem("dau-theme") ?? "auto";
speak();
window.addEventListener("hashchange", async () => { await show(); main.focus({ preventScroll: true }); scrollTo(0, 0); });
document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
frame();
try {
  await api.resume();
} catch (error) {
  if (error.status !== 401) say(error.status === 0 ? t("unreachable") : error.message, true);
}
show();
