// The HTTP API, with the login kept for this tab only.

import { sentence } from "./words.js";

const KEY = "understudy.session";

export class Problem extends Error {
  constructor(status, body) {
    super(sentence(body.detail || body.title || `The server answered ${status}.`));
    this.status = status;
    this.type = body.type || "";
    this.body = body;
  }
}

export function session() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
}

export function forget() {
  sessionStorage.removeItem(KEY);
}

export async function logIn(username, password) {
  const opened = await call("POST", "/session", { username, password });
  sessionStorage.setItem(KEY, JSON.stringify({ token: opened.token, user: opened.user }));
}

export async function logOut() {
  try {
    await call("DELETE", "/session");
  } finally {
    forget();
  }
}

export function authorization() {
  const opened = session();
  return opened ? { Authorization: `Bearer ${opened.token}` } : {};
}

// Raises Problem for what the API refuses, TypeError when it cannot be reached.
export async function call(method, path, body) {
  const headers = authorization();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(`/api/v1${path}`, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
  });
  if (answer.status === 204) return null;
  const text = await answer.text();
  let value = {};
  try {
    value = text ? JSON.parse(text) : {};
  } catch {
    value = { detail: `The server answered ${answer.status}.` };
  }
  if (!answer.ok) throw new Problem(answer.status, value);
  return value;
}

// All pages of a list: {items, …fields of the last page}.
export async function all(path) {
  const items = [];
  let cursor = null;
  let page;
  do {
    const joint = path.includes("?") ? "&" : "?";
    page = await call("GET", cursor ? `${path}${joint}cursor=${encodeURIComponent(cursor)}` : path);
    items.push(...page.items);
    cursor = page.next;
  } while (cursor);
  return { ...page, items };
}
