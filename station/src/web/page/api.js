// Requests to the REST interface, by the session's cookie.
const API = "/api/v1/";

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.message ?? `HTTP ${status}`);
    this.status = status;
    this.word = problem.error ?? "";
  }
}

let session = null;

export const who = () => session;
export const may = (act) => session?.acts.includes(act) ?? false;

async function send(method, path, fields = {}, body = undefined) {
  const headers = { ...fields };
  if (method !== "GET" && session?.csrf) headers["X-CSRF-Token"] = session.csrf;
  let answer;
  try {
    answer = await fetch(API + path, { method, headers, body, cache: "no-store" });
  } catch {
    throw new Refused(0, {});
  }
  const text = await answer.text();
  const content = text && answer.headers.get("content-type")?.startsWith("application/json") ? JSON.parse(text) : {};
  // Another tab has begun another session: show whose it is.
  if (content.error === "csrf") location.reload();
  if (!answer.ok) throw new Refused(answer.status, content);
  return content;
}

export const get = (path) => send("GET", path);
export const remove = (path) => send("DELETE", path);

const JSON_FIELDS = { "Content-Type": "application/json" };

export function post(path, content, key) {
  const fields = key ? { ...JSON_FIELDS, "Idempotency-Key": key } : JSON_FIELDS;
  return send("POST", path, fields, JSON.stringify(content));
}

export const patch = (path, content) => send("PATCH", path, JSON_FIELDS, JSON.stringify(content));

// Health is told by its content, whatever the status.
export async function health() {
  try {
    return await (await fetch(`${API}readyz`, { cache: "no-store" })).json();
  } catch {
    return null;
  }
}

export async function logIn(token) {
  session = null;
  session = await send("POST", "session", { Authorization: `Bearer ${token}` });
}

// Finds out whether there is a session.
export async function resume() {
  session = await get("session");
}

export async function logOut() {
  try {
    await remove("session");
  } finally {
    session = null;
  }
}

export function forget() {
  session = null;
}

// Sends a file and tells how far it is; fetch cannot.
export function upload(path, file, onprogress) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", API + path);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("X-CSRF-Token", session?.csrf ?? "");
    request.upload.onprogress = (event) => onprogress(Math.floor((100 * event.loaded) / Math.max(event.total, 1)));
    request.onerror = () => failed(new Refused(0, {}));
    request.onload = () => {
      let content = {};
      try { content = JSON.parse(request.responseText); } catch { /* a proxy's answer */ }
      if (request.status >= 400) failed(new Refused(request.status, content));
      else done({ ...content, isNew: request.status === 201 });
    };
    request.send(file);
  });
}

// Makes a query; empty values are left out.
export function query(values) {
  const pairs = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}
