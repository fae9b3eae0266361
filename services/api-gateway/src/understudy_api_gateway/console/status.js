// The status page: running failovers, and both status lists with their counts as filters (M13, M22).

import { confirmStart, confirmStop, endMaintenance, planMaintenance } from "./actions.js";
import { element, fill } from "./elements.js";
import { showCameras } from "./live.js";
import { editSettings } from "./settings.js";
import { OUTCOMES, PATH, PHASES, ROLES, STATUSES, clock, duration, moment, percent, words } from "./words.js";

const filters = { recording: null, failover: null };
const parts = {};
let context = null;
let last = null;

export function statusPage(role, { refresh, say }) {
  context = { mayStart: role !== "viewer", mayChange: role === "administrator", refresh, say };
  last = null;
  parts.defaults = null;
  parts.problem = element("p", { class: "notice error", role: "alert", hidden: true });
  parts.failovers = element("div", { class: "cards" });
  parts.failoversSection = element("section", { "aria-labelledby": "failovers-title" },
    element("h2", { id: "failovers-title" }, "Failovers"), parts.failovers);
  const lists = Object.entries(ROLES).map(([name, words_]) => list(name, words_));
  return element("div", { class: "page" },
    element("h1", { class: "visually-hidden" }, "Status"), parts.problem, parts.failoversSection, ...lists);
}

function list(role, { title }) {
  const filter = element("div", { class: "filters", role: "group", "aria-label": `Show ${title.toLowerCase()}` });
  const rows = element("ul", { class: "rows", id: `${role}-rows`, "aria-label": title });
  const empty = element("div", { class: "empty", hidden: true });
  parts[role] = { filter, rows, empty };
  // Not before the lists are drawn: they move it, and a click under way would miss it.
  parts.defaults = role === "recording" && context.mayChange ? element("button", {
    type: "button", class: "link", disabled: true, onclick: () => editSettings(null, context),
  }, "Default failover settings") : parts.defaults;
  return element("section", { "aria-labelledby": `${role}-title` },
    element("div", { class: "heading" }, element("h2", { id: `${role}-title` }, title), filter,
      role === "recording" ? parts.defaults : null), rows, empty);
}

export function drawStatus(state) {
  if (!parts.problem || !context) return;
  last = state;
  parts.problem.textContent = state.problem;
  parts.problem.hidden = !state.problem;
  if (!state.loaded) return;
  drawFailovers(state);
  for (const role of Object.keys(ROLES)) drawList(role, state);
  if (parts.defaults) parts.defaults.disabled = false;
}

function drawList(role, state) {
  const { filter, rows, empty } = parts[role];
  const words_ = ROLES[role];
  const counts = state.counts[role] || {};
  const servers = state.servers.filter((server) => server.role === role);
  fill(filter, [
    filterButton(role, null, "All", servers.length),
    ...words_.statuses.map((status) => filterButton(role, status, STATUSES[status], counts[status] || 0)),
  ]);
  const shown = servers
    .filter((server) => filters[role] === null || server.status === filters[role])
    .sort((a, b) => b.priority - a.priority || a.name.localeCompare(b.name, undefined, { numeric: true }));
  fill(rows, shown.map((server) => row(server, state)));
  rows.hidden = shown.length === 0;
  empty.hidden = shown.length > 0;
  if (servers.length === 0) {
    empty.replaceChildren(element("h3", {}, words_.empty), element("p", {}, words_.hint));
  } else if (shown.length === 0) {
    empty.replaceChildren(element("p", {}, `None of them is ${STATUSES[filters[role]]} now.`));
  }
}

function filterButton(role, status, label, count) {
  const pressed = filters[role] === status;
  return element("button", {
    type: "button", class: "filter", "data-key": `${role}-${status}`, "data-status": status || "all",
    "aria-pressed": String(pressed), "data-zero": count === 0,
    onclick() {
      filters[role] = status;
      drawStatus(last);
      // The button was drawn anew: the focus stays where the person is.
      parts[role].filter.querySelector(`[data-key="${role}-${status}"]`)?.focus();
    },
  }, `${label} `, element("span", { class: "count" }, String(count)));
}

function row(server, state) {
  const failover = failoverOf(server.id, state);
  const { active, maximum } = server.cameras;
  return element("li", { class: "row", id: `server-${server.id}`, "data-key": server.id, tabindex: "-1" },
    element("div", { class: "name" },
      element("strong", {}, server.name),
      element("span", { class: "muted" }, `Site ${server.site}`)),
    element("div", { class: "status" }, badge(server), statusText(server)),
    element("div", { class: "protection" }, protection(server), maintenance(server)),
    element("div", { class: "cameras" },
      element("span", { class: "figure" }, `${active} / ${maximum}`), element("span", { class: "muted" }, " cameras"),
      server.role === "recording" ? rowLink(server, "Live view", showCameras) : null,
      server.role === "recording" && context.mayChange
        ? rowLink(server, "Failover settings", (one) => editSettings(one, context)) : null),
    element("div", { class: "actions" }, ...actions(server, failover)));
}

function badge(server) {
  let text = STATUSES[server.status] || words(server.status);
  const restoring = server.failover && server.failover.percent !== null
    && ["restoring", "clearing"].includes(server.failover.phase);
  if (server.status === "failed-over" && restoring) text += ` (${percent(server.failover.percent)} restoring)`;
  return element("span", { class: "badge", "data-status": server.status }, text);
}

function statusText(server) {
  const about = [];
  const failover = server.failover;
  if (failover && failover.partner) {
    const link = element("a", { href: `#server-${failover.partner}`, onclick: jump }, failover.partner_name || failover.partner);
    about.push(server.role === "recording"
      ? element("span", {}, "to ", link) : element("span", {}, "for ", link));
  }
  if (server.reason) about.push(element("span", { class: "reason" }, server.reason));
  if (failover && failover.waiting_for && failover.waiting_for !== server.reason) {
    about.push(element("span", { class: "reason" }, `Waiting: ${failover.waiting_for}`));
  }
  return about.length ? element("span", { class: "about" }, ...about) : null;
}

function jump(event) {
  event.preventDefault();
  const id = event.currentTarget.getAttribute("href").slice(1);
  for (const role of Object.keys(filters)) {
    if (last.servers.some((server) => `server-${server.id}` === id && server.role === role)) filters[role] = null;
  }
  drawStatus(last);
  const target = document.getElementById(id);
  if (!target) return;
  target.scrollIntoView({ block: "center" });
  target.focus();
}

function protection(server) {
  if (server.role !== "recording" || (server.failover && !server.protection)) return null;
  if (server.protected) {
    return element("span", { class: "protected" }, element("span", { "aria-hidden": "true" }, "✓ "), "Protected");
  }
  const missing = server.protection || (server.failover_servers.length ? "not ready yet" : "not paired");
  return element("span", { class: "unprotected" }, `Not protected: ${missing}`);
}

// Planned work: a visible mark, and the way into it and out of it.
function maintenance(server) {
  if (server.role !== "recording" || server.disabled) return null;
  const until = server.maintenance_until;
  const button = !context.mayStart ? null : until
    ? rowLink(server, "End maintenance", (one) => endMaintenance(one, context))
    : rowLink(server, "Plan maintenance…", (one) => planMaintenance(one, context));
  return [until ? element("span", { class: "badge", "data-status": "maintenance" }, `Maintenance until ${moment(until)}`) : null, button];
}

// Rows that look the same stay in the page, so what a button does is looked up when it is pressed.
function actions(server, failover) {
  if (!context.mayStart || server.role !== "recording") return [];
  if (failover) {
    const stoppable = !["restoring", "clearing", "done"].includes(failover.phase) && !failover.stop_requested;
    return stoppable ? [actionButton(server, "Stop failover", stopFailoverOf)] : [];
  }
  if (server.disabled || server.failover_servers.length === 0) return [];
  return [actionButton(server, "Fail over…", startFailoverOf)];
}

function rowLink({ id, name }, text, act) {
  return element("button", {
    type: "button", class: "link", "data-focus": `${text}-${id}`, "aria-label": `${text} (${name})`,
    onclick() {
      const server = last.servers.find((one) => one.id === id);
      if (server) act(server);
    },
  }, text);
}

function actionButton({ id, name }, text, act) {
  return element("button", {
    type: "button", "data-focus": `action-${id}`, "aria-label": `${text} (${name})`, onclick: () => act(id),
  }, text);
}

function startFailoverOf(id) {
  const server = last.servers.find((one) => one.id === id);
  if (!server) return;
  confirmStart(server, last.servers.filter((spare) => server.failover_servers.includes(spare.id)), context);
}

function stopFailoverOf(id) {
  const failover = failoverOf(id, last);
  if (failover) confirmStop(failover, context);
}

// The failover that the server is in; while an older one still restores, the newer one counts.
function failoverOf(id, state) {
  return state.failovers.find((f) => f.server === id || f.failover_server === id);
}

function drawFailovers({ failovers, recent }) {
  const shown = [...failovers, ...recent];
  parts.failoversSection.hidden = shown.length === 0;
  fill(parts.failovers, shown.map(card));
}

function card(failover) {
  const done = failover.phase === "done";
  const steps = failover.steps || [];
  const share = failover.restoration ? failover.restoration.percent || 0 : null;
  const phase = done ? OUTCOMES[failover.outcome] || "Done" : PHASES[failover.phase] || words(failover.phase);
  return element("article", { class: "card failover", "data-key": failover.id, "data-done": done },
    element("header", {},
      element("h3", {}, failover.server_name, element("span", { "aria-hidden": "true" }, " → "),
        element("span", { class: "visually-hidden" }, " to "), failover.failover_server_name || "no failover server yet"),
      element("span", { class: "phase" }, failover.phase === "restoring" && share !== null
        ? `${phase} (${percent(share)})` : phase)),
    done ? null : progress(failover),
    element("p", {}, failover.reason.text, element("span", { class: "muted" },
      ` · ${failover.id} · ${failover.automatic ? "automatic" : `by ${failover.reason.by || "hand"}`}, ${clock(failover.created_at)}`)),
    failover.waiting_for ? element("p", { class: "reason" }, `Waiting: ${failover.waiting_for}`) : null,
    failover.phase === "restoring" && share !== null
      ? element("progress", { max: 100, value: share, "aria-label": "Footage brought home" }) : null,
    steps.length ? element("details", {},
      element("summary", {}, `${steps.length} steps`),
      element("ol", { class: "steps" }, ...steps.map(step))) : null);
}

function progress(failover) {
  const place = PATH.indexOf(failover.phase === "standing-down" ? "activating" : failover.phase);
  return element("ol", { class: "path", "aria-label": "Phases" }, ...PATH.map((phase, index) => {
    const how = index < place ? "past" : index === place ? "now" : "later";
    return element("li", { "data-state": how, "aria-current": how === "now" ? "step" : null }, PHASES[phase]);
  }));
}

function step(entry) {
  const took = entry.ended_at ? duration(entry.ended_at - entry.started_at) : "under way";
  const attempts = entry.attempts > 1 ? `, ${entry.attempts} attempts` : "";
  return element("li", {}, element("span", {}, words(entry.name)),
    element("span", { class: "muted" }, `${clock(entry.started_at)} · ${took}${attempts}`),
    entry.error ? element("span", { class: "reason" }, entry.error) : null);
}
