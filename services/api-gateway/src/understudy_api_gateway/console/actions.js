// What a person can do here, each after a dialog that says what it means.

import { call } from "./api.js";
import { element } from "./elements.js";

const dialog = document.getElementById("dialog");

export function confirmStart(server, spares, context) {
  const choice = element("select", { id: "spare" }, element("option", { value: "" }, "The host chooses (recommended)"),
    ...spares.map((spare) => element("option", { value: spare.id, disabled: spare.status !== "standby" },
      spare.status === "standby" ? spare.name : `${spare.name} (not on standby)`)));
  ask({
    title: `Fail over ${server.name}?`,
    body: [
      element("p", {}, "A failover server takes over its cameras, settings and licenses. "
        + "It is not available for other servers until its footage has been brought home."),
      element("label", { for: "spare" }, "Failover server"), choice,
    ],
    action: "Start failover",
    async run() {
      await call("POST", `/servers/${server.id}/failover`, { failover_server: choice.value || null });
      context.say(`Failover of ${server.name} has been started.`);
    },
    then: context.refresh,
  });
}

export function confirmStop(failover, context, warning = null) {
  ask({
    title: `Stop the failover of ${failover.server_name}?`,
    danger: warning !== null,
    body: [element("p", {}, warning ? warning.body.destroys
      : `${failover.server_name} records its own cameras again before ${failover.failover_server_name || "the failover server"} `
        + "lets go, and the footage made meanwhile is brought home.")],
    action: warning ? "Stop anyway" : "Stop failover",
    async run() {
      const body = warning ? { confirmation: warning.body.confirmation } : {};
      try {
        await call("POST", `/failovers/${failover.id}/stop`, body);
        context.say(`The failover of ${failover.server_name} is being stopped.`);
      } catch (problem) {
        if (problem.type !== "confirmation-required") throw problem;
        setTimeout(() => confirmStop(failover, context, problem));
      }
    },
    then: context.refresh,
  });
}

const MAINTENANCE_HOURS = [1, 2, 4, 8, 24, 72, 168];

export function planMaintenance(server, context) {
  const choice = element("select", { id: "hours" }, ...MAINTENANCE_HOURS.map((hours) => element("option",
    { value: hours, selected: hours === 2 }, hours < 24 ? `${hours} h` : hours === 24 ? "1 day" : `${hours / 24} days`)));
  ask({
    title: `Plan maintenance of ${server.name}?`,
    body: [
      element("p", {}, "No failover starts by itself meanwhile, whatever happens to it. The maintenance ends by itself: "
        + "if the server is away then, its failover starts at once."),
      element("label", { for: "hours" }, "For"), choice,
    ],
    action: "Begin maintenance",
    async run() {
      await call("PUT", `/servers/${server.id}/maintenance`, { for_s: Number(choice.value) * 3600 });
      context.say(`${server.name} is in planned maintenance.`);
    },
    then: context.refresh,
  });
}

export function endMaintenance(server, context) {
  ask({
    title: `End the maintenance of ${server.name}?`,
    body: [element("p", {}, "Triggers act again: if the server is away now, its failover starts at once.")],
    action: "End maintenance",
    async run() {
      await call("DELETE", `/servers/${server.id}/maintenance`);
      context.say(`The maintenance of ${server.name} has ended.`);
    },
    then: context.refresh,
  });
}

export function ask({ title, body, action, run, then, danger = false }) {
  const problem = element("p", { class: "error", role: "alert" });
  const go = element("button", { class: danger ? "danger" : "primary" }, action);
  const form = element("form", { method: "dialog" },
    element("h2", { id: "dialog-title" }, title), ...body, problem,
    element("div", { class: "buttons" },
      element("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"), go));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    problem.textContent = "";
    try {
      await run();
      dialog.close();
      then();
    } catch (error) {
      problem.textContent = error.status ? error.message : "The host cannot be reached. Try again.";
    } finally {
      go.disabled = false;
    }
  });
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
}
