// The console's frame: login, live connection, and when to draw.

import { all, call, forget, logIn, logOut, session } from "./api.js";
import { element } from "./elements.js";
import { follow } from "./events.js";
import { drawStatus, statusPage } from "./status.js";

const main = document.getElementById("main");
const bar = document.getElementById("bar");
const live = document.getElementById("live");
const liveText = document.getElementById("live-text");
const announcements = document.getElementById("announcements");

const state = { servers: [], counts: {}, failovers: [], recent: [], loaded: false, problem: "" };
let stop = null;
let refreshing = false;
let again = false;
let timer = null;

function say(text) {
  announcements.textContent = text;
}

function showLive(how, text) {
  live.dataset.state = how;
  liveText.textContent = text;
}

// Reads everything anew; events that come meanwhile lead to one more reading, not to many.
async function refresh() {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  try {
    const [servers, running, recent] = await Promise.all([
      all("/servers?limit=1000"),
      all("/failovers?running=true&limit=200"),
      call("GET", "/failovers?running=false&limit=4"),
    ]);
    noticeChanges(servers.items);
    Object.assign(state, {
      servers: servers.items, counts: servers.counts, failovers: running.items, recent: recent.items, loaded: true, problem: "",
    });
  } catch (error) {
    if (error.status === 401) {
      showLogin("Your login has ended. Log in again.");
      return;
    }
    state.problem = error.status ? error.message : "The host cannot be reached.";
  } finally {
    refreshing = false;
  }
  drawStatus(state);
  if (again) {
    again = false;
    soon();
  }
}

function soon() {
  if (timer !== null) return;
  timer = setTimeout(() => {
    timer = null;
    if (stop) refresh();
  }, 120);
}

function noticeChanges(servers) {
  if (!state.loaded) return;
  const before = new Map(state.servers.map((server) => [server.id, server.status]));
  const changed = servers.filter((server) => before.has(server.id) && before.get(server.id) !== server.status);
  if (changed.length) say(changed.map((server) => `${server.name}: ${server.status.replaceAll("-", " ")}`).join(". "));
}

function showStatus() {
  bar.hidden = false;
  document.getElementById("who").textContent = session().user.username;
  main.replaceChildren(statusPage(session().user.role, { refresh, say }));
  showLive("connecting", "Connecting…");
  refresh();
  stop = follow(["server", "failover", "restoration", "license"], {
    opened() {
      showLive("on", "Live");
      soon(); // what happened while we did not listen
    },
    event: soon,
    lost() {
      showLive("off", "Offline – reconnecting…");
    },
    refused() {
      showLogin("Your login has ended. Log in again.");
    },
  });
}

function showLogin(message = "") {
  if (stop) stop();
  stop = null;
  forget();
  Object.assign(state, { servers: [], failovers: [], recent: [], loaded: false });
  bar.hidden = true;
  const problem = element("p", { class: "error", role: "alert" }, message);
  const button = element("button", { class: "primary" }, "Log in");
  const username = element("input", {
    id: "username", name: "username", autocomplete: "username", required: true, spellcheck: "false",
    autocapitalize: "none",
  });
  const password = element("input", {
    id: "password", name: "password", type: "password", autocomplete: "current-password", required: true,
  });
  const form = element("form", { class: "card login", "aria-labelledby": "login-title" },
    element("img", { src: "/static/mark.svg", alt: "", width: 44, height: 44 }),
    element("h1", { id: "login-title" }, "Understudy"),
    element("p", { class: "muted" }, "Failover for video surveillance"),
    element("label", { for: "username" }, "User name"), username,
    element("label", { for: "password" }, "Password"), password,
    problem, button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    try {
      await logIn(username.value, password.value);
      showStatus();
    } catch (error) {
      problem.textContent = error.status ? error.message : "The host cannot be reached. Try again.";
      password.value = "";
      password.focus();
    } finally {
      button.disabled = false;
    }
  });
  main.replaceChildren(element("div", { class: "middle" }, form));
  username.focus();
}

document.getElementById("log-out").addEventListener("click", async () => {
  await logOut().catch(() => {});
  showLogin();
});

if (session()) showStatus();
else showLogin();
