// Failover settings (M5 to M8): of one server, or the defaults of all that have none of their own.

import { ask } from "./actions.js";
import { call } from "./api.js";
import { element } from "./elements.js";

// [where it is in the document, what it is called, the options of a choice or the ends of a range in seconds]
const FIELDS = [
  ["disconnection.enabled", "Fail over when the connection is lost"],
  ["disconnection.after_s", "Connection lost for (s)", 1, 3600],
  ["storage.enabled", "Fail over when the storage is damaged"],
  ["storage.degraded_too", "… or degraded"],
  ["storage.after_s", "Storage bad for (s)", 1, 3600],
  ["recorder.enabled", "Fail over when the recorder is disabled, missing, crashing or not recording"],
  ["recorder.after_s", "Recorder abnormal for (s)", 1, 3600],
  ["stop_automatically", "Stop an automatic failover when its reason has cleared"],
  ["settling_s", "Cleared for (s)", 0, 3600],
  ["hold_down_s", "No other automatic failover for (s)", 0, 86400],
  ["range", "Range", { full: "Full", "full-except-recording": "Full, except recording" }],
  ["restoration", "Footage of the failover", { restore: "Is brought back", discard: "Is discarded" }],
];

// `server` is null for the defaults.
export async function editSettings(server, context) {
  const path = server ? `/servers/${server.id}/failover-settings` : "/failover-settings";
  let found;
  try {
    found = await call("GET", path);
  } catch (problem) {
    context.say(problem.message);
    return;
  }
  const settings = server ? found.settings : found;
  const inputs = FIELDS.map(([where, , low, high]) => input(valueAt(settings, where), low, high));
  const fields = FIELDS.map(([, label], number) => element("label", { class: "setting" }, element("span", {}, label), inputs[number]));
  const own = server ? element("input", { type: "checkbox", checked: found.own }) : null;
  const follow = () => {
    for (const one of inputs) one.disabled = Boolean(own) && !own.checked;
  };
  if (own) own.addEventListener("change", follow);
  follow();

  function save(warning = null) {
    ask({
      title: server ? `Failover settings of ${server.name}` : "Default failover settings",
      danger: warning !== null,
      body: warning ? [element("p", {}, warning.body.destroys)] : [
        own ? element("label", { class: "setting" }, element("span", {}, "Its own, not the defaults"), own) : null, ...fields,
      ].filter(Boolean),
      action: warning ? "Save anyway" : "Save",
      async run() {
        const to = warning ? `${path}?confirmation=${warning.body.confirmation}` : path;
        try {
          if (own && !own.checked) await call("DELETE", to);
          else await call("PUT", to, document_(settings, inputs));
          context.say("The failover settings have been saved.");
        } catch (problem) {
          if (problem.type !== "confirmation-required") throw problem;
          setTimeout(() => save(problem));
        }
      },
      then: context.refresh,
    });
  }
  save();
}

function input(value, low, high) {
  if (typeof value === "boolean") return element("input", { type: "checkbox", checked: value });
  if (typeof value === "number") {
    return element("input", { type: "number", min: low, max: high, step: "any", required: true, value });
  }
  return element("select", {}, ...Object.entries(low).map(([name, text]) => element("option", { value: name, selected: name === value }, text)));
}

function valueAt(settings, where) {
  return where.split(".").reduce((inner, name) => inner[name], settings);
}

function document_(settings, inputs) {
  const made = structuredClone(settings);
  FIELDS.forEach(([where], number) => {
    const names = where.split(".");
    const last = names.pop();
    const { type, checked, value } = inputs[number];
    names.reduce((inner, name) => inner[name], made)[last] = type === "checkbox" ? checked : type === "number" ? Number(value) : value;
  });
  return made;
}
