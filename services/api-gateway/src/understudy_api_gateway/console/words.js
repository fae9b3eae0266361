// How things are called on screen.

export const ROLES = {
  recording: {
    title: "Recording servers",
    statuses: ["normal", "failed-over", "disconnected", "disabled", "incompatible", "others"],
    empty: "No recording servers yet",
    hint: "Add one with POST /api/v1/servers, then start its agent with the join token: "
      + "understudy recording-server --data-dir DIR --join URL --token TOKEN",
  },
  failover: {
    title: "Failover servers",
    statuses: ["standby", "failed-over", "disconnected", "disabled", "incompatible", "others"],
    empty: "No failover servers yet",
    hint: "Without a failover server nobody takes over when a recording server dies. Add one with "
      + "POST /api/v1/servers and role “failover”, then pair recording servers with it.",
  },
};

export const STATUSES = {
  normal: "Normal",
  standby: "Standby",
  "failed-over": "Failed Over",
  disconnected: "Disconnected",
  disabled: "Disabled",
  incompatible: "Incompatible",
  others: "Others",
};

export const PHASES = {
  waiting: "Waiting",
  licensing: "Moving licenses",
  activating: "Activating",
  "standing-down": "Standing down",
  active: "Active",
  "handing-back": "Handing back",
  restoring: "Restoring footage",
  clearing: "Clearing",
  replacing: "Replacing",
  done: "Done",
};

export const OUTCOMES = { returned: "Returned", replaced: "Replaced", abandoned: "Abandoned" };

// The way of a failover, for its progress line.
export const PATH = ["licensing", "activating", "active", "handing-back", "restoring", "clearing"];

export function percent(value) {
  return `${Math.floor(value)} %`;
}

export function clock(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

// With the day, if that is not today.
export function moment(milliseconds) {
  const time = new Date(milliseconds);
  const today = time.toDateString() === new Date().toDateString();
  return time.toLocaleString([], {
    hour: "2-digit", minute: "2-digit", ...(today ? {} : { weekday: "short", day: "numeric", month: "short" }),
  });
}

export function duration(milliseconds) {
  if (milliseconds < 1000) return `${milliseconds} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function words(name) {
  return sentence(name.replaceAll("-", " "));
}
