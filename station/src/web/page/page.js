// Shows jobs and terminals; reads the REST interface with a token that stays in this tab.
"use strict";

const KEY = "dau-station-token";
const EVERY = 3000;
const SHOWN = 200;
const element = (id) => document.getElementById(id);
let timer;

function message(job) {
  if (!job.result) return null;
  return (job.result.otherPackage ? "NOT the ordered package. " : "") + job.result.message;
}

async function get(path) {
  const token = sessionStorage.getItem(KEY);
  const answer = await fetch("/api/v1/" + path, { headers: { Authorization: "Bearer " + token } });
  const content = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(content.message), { status: answer.status });
  return content;
}

function cell(content, kind) {
  const td = document.createElement("td");
  if (content instanceof Node) td.append(content);
  else td.textContent = content ?? "";
  if (kind) td.className = kind;
  return td;
}

function mood(job) {
  if (!job.result) return job.state === "queued" ? "" : "busy";
  if (job.result.otherPackage) return "bad";
  if (job.result.code < 400) return "good";
  return job.result.outcome === "cancelled" ? "" : "bad";
}

function time(text) {
  return text ? new Date(text).toLocaleString() : "";
}

function fill(id, rows, next) {
  element(id).tBodies[0].replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells);
    return row;
  }));
  element(id + "-count").textContent = next ? `first ${rows.length}` : rows.length;
}

function bar(job) {
  if (job.result) return "";
  const bar = document.createElement("progress");
  bar.max = 100;
  bar.value = job.progress;
  bar.title = job.progress + " %";
  return bar;
}

function megabytes(count) {
  return (count / 1e6).toFixed(1) + " MB";
}

function file(job) {
  if (!job.file) return "";
  const size = megabytes(job.file.size);
  return job.file.delta ? "delta, " + size + " (saves " + megabytes(job.file.saved) + ")" : size;
}

function spent(job) {
  if (job.bytesUsed === null) return "";
  return megabytes(job.bytesUsed) + (job.budget === null ? "" : " of " + megabytes(job.budget));
}

function job(job) {
  const word = job.result ? job.result.outcome : job.state;
  return [
    cell(job.terminal), cell(job.version), cell(job.type), cell(word, mood(job)), cell(bar(job)), cell(file(job)), cell(spent(job), "number"),
    cell(time(job.createdAt)), cell(job.createdBy), cell(message(job), "text"), cell(job.id, "number"),
  ];
}

function terminal(terminal) {
  const link = terminal.online ? "online" : "offline";
  return [
    cell(terminal.id), cell(link, terminal.online ? "good" : ""), cell(terminal.product), cell(terminal.version), cell(terminal.kernel),
    cell(time(terminal.lastSeen)),
  ];
}

async function refresh() {
  clearTimeout(timer);
  try {
    const [jobs, terminals] = await Promise.all([get("jobs?limit=" + SHOWN), get("terminals?limit=" + SHOWN)]);
    fill("jobs", jobs.jobs.map(job), jobs.next);
    fill("terminals", terminals.terminals.map(terminal), terminals.next);
    element("problem").textContent = "";
  } catch (error) {
    element("problem").textContent = error.message;
    if (error.status === 401) return leave("this token is not valid");
  }
  await health();
  timer = setTimeout(refresh, EVERY);
}

async function health() {
  try {
    const health = await (await fetch("/api/v1/healthz")).json();
    element("health").textContent = health.broker ? "broker connected" : "broker not connected";
    element("health").className = health.broker ? "good" : "bad";
  } catch {
    element("health").textContent = "station not reachable";
    element("health").className = "bad";
  }
}

function show(inside) {
  document.querySelector("main").hidden = !inside;
  element("enter").hidden = inside;
  element("leave").hidden = !inside;
}

function leave(why) {
  clearTimeout(timer);
  sessionStorage.removeItem(KEY);
  show(false);
  element("health").textContent = why;
  element("health").className = "bad";
}

element("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, element("token").value.trim());
  element("token").value = "";
  show(true);
  refresh();
});
element("leave").addEventListener("click", () => leave(""));

if (sessionStorage.getItem(KEY)) {
  show(true);
  refresh();
} else {
  health();
}
