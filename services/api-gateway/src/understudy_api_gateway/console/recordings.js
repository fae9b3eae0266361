// What is recorded of a camera: a bar of the last hours with its gaps, and playback from any moment of it.

import { authorization, call, Problem } from "./api.js";
import { element } from "./elements.js";
import { clock, duration, moment } from "./words.js";

const HOUR_MS = 3_600_000;
const PERIODS = [[HOUR_MS / 6, "10 minutes"], [HOUR_MS, "1 hour"], [8 * HOUR_MS, "8 hours"], [24 * HOUR_MS, "24 hours"]];
const REFRESH_MS = 3000;
const JOIN_MS = 1000; // Footage that is no further apart has no gap.
const FRESH_MS = 10_000; // What is younger may not be on the timeline yet.
const PLAYED_MS = 4 * 60_000; // At once: a ticket for the next part is asked for while it is good.
const GAPS_SHOWN = 5;

// Footage one after the other, each part from the server that has it first.
export function partsOf(spans) {
  const parts = [];
  for (const span of [...spans].sort((a, b) => a.start_ms - b.start_ms || b.end_ms - a.end_ms)) {
    const begun = parts.length ? parts[parts.length - 1].end_ms : 0;
    if (span.end_ms > begun) parts.push({ ...span, start_ms: Math.max(span.start_ms, begun) });
  }
  return parts;
}

// Where nothing is, between footage and up to `now`.
export function gapsOf(parts, now) {
  const gaps = parts.slice(1).map((part, index) => [parts[index].end_ms, part.start_ms]);
  const last = parts[parts.length - 1];
  if (last && now - last.end_ms > FRESH_MS) gaps.push([last.end_ms, now]);
  return gaps.filter(([from, to]) => to - from > JOIN_MS);
}

export class Timeline {
  // `chosen` hears a moment (UTC ms) that somebody wants to see; null: now.
  constructor(camera, chosen) {
    this.camera = camera;
    this.period = HOUR_MS;
    this.parts = [];
    this.seen = null; // The moment that is shown; null: now.
    this.timer = null;
    this.closed = false;
    this.track = element("div", { class: "track", "aria-hidden": "true" });
    this.cursor = element("input", { type: "range", step: 1000, "aria-label": "Time to play from" });
    this.cursor.addEventListener("change", () => chosen(Number(this.cursor.value)));
    this.back = element("button", { type: "button", class: "filter", hidden: true, onclick: () => chosen(null) }, "Back to live");
    this.begin = element("span");
    this.gaps = element("p", { class: "gaps" });
    this.problem = element("p", { class: "error" });
    this.periods = element("div", { class: "filters", role: "group", "aria-label": "Period" },
      PERIODS.map(([period, text]) => element("button", {
        type: "button", class: "filter", "aria-pressed": String(period === this.period),
        onclick: (event) => this.show(period, event.currentTarget),
      }, text)));
    this.element = element("section", { class: "timeline", "aria-label": "Recordings" },
      element("div", { class: "heading" }, element("h3", {}, "Recordings"), this.periods, this.back),
      element("div", { class: "scale" }, this.track, this.cursor),
      element("div", { class: "ends muted" }, this.begin, element("span", {}, "now")),
      this.gaps, this.problem);
    this.refresh();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }

  show(period, button) {
    this.period = period;
    for (const other of this.periods.children) other.setAttribute("aria-pressed", String(other === button));
    clearTimeout(this.timer);
    this.refresh();
  }

  async refresh() {
    const now = Date.now();
    const period = this.period;
    try {
      const told = await call("GET", `/cameras/${this.camera.id}/timeline?from=${now - period}&to=${now}`);
      if (this.closed || period !== this.period) return;
      this.parts = partsOf(told.spans);
      this.draw(now, told.unreachable);
    } catch (error) {
      if (this.closed || period !== this.period) return;
      this.problem.textContent = error.status ? error.message : "The host cannot be reached.";
    }
    this.timer = setTimeout(() => this.refresh(), REFRESH_MS);
  }

  draw(now, unreachable) {
    const from = now - this.period;
    this.track.replaceChildren(...this.parts.map((part) => {
      const drawn = element("span", {
        class: "part", "data-failover": part.failover,
        title: `${clock(part.start_ms)} to ${clock(part.end_ms)}, ${part.server}${part.failover ? `, ${part.failover}` : ""}`,
      });
      // Not as an attribute: the page's rules forbid styles in markup.
      drawn.style.left = `${100 * (part.start_ms - from) / this.period}%`;
      drawn.style.width = `${100 * (part.end_ms - part.start_ms) / this.period}%`;
      return drawn;
    }));
    this.cursor.min = from;
    this.cursor.max = now;
    this.move(this.seen);
    this.begin.textContent = moment(from);
    this.gaps.textContent = sayGaps(this.camera, this.parts, now);
    this.problem.textContent = unreachable.length
      ? `${unreachable.join(", ")} cannot be reached: what is there is not shown.` : "";
  }

  // What is shown now is of this moment; null: live.
  move(seen) {
    this.seen = seen;
    this.back.hidden = seen === null;
    if (document.activeElement === this.cursor && this.cursor.matches(":active")) return; // It is being dragged.
    this.cursor.value = seen ?? this.cursor.max;
    this.cursor.setAttribute("aria-valuetext", seen === null ? "live" : clock(seen));
  }
}

function sayGaps(camera, parts, now) {
  if (!parts.length) return "Nothing is recorded of this time.";
  if (camera.recording !== "continuous") return ""; // What is not recorded then is not missing.
  const gaps = gapsOf(parts, now).reverse();
  if (!gaps.length) return `Recorded without a gap since ${moment(parts[0].start_ms)}.`;
  const shown = gaps.slice(0, GAPS_SHOWN)
    .map(([from, to]) => `${clock(from)} to ${to === now ? "now" : clock(to)} (${duration(to - from)})`);
  const more = gaps.length > GAPS_SHOWN ? `, and ${gaps.length - GAPS_SHOWN} more` : "";
  return `Missing: ${shown.join("; ")}${more}.`;
}

// Plays footage from a moment on, part after part, over gaps.
export class Playback {
  // `timeline` knows the parts and is told what is shown; `over` is called when there is no more.
  constructor(camera, timeline, over) {
    this.camera = camera;
    this.timeline = timeline;
    this.over = over;
    this.closed = false;
    this.base = 0;
    this.next = 0;
    this.video = element("video", { controls: true, playsinline: true, "aria-label": `Recording of ${camera.name}` });
    this.message = element("p", { class: "stage-message", role: "status" }, "Looking for the recording…");
    this.time = element("span");
    this.element = element("figure", {}, this.video, this.message, element("figcaption", {}, camera.name, " · ", this.time));
    this.video.addEventListener("timeupdate", () => this.told());
    this.video.addEventListener("ended", () => this.play(this.next));
    this.video.addEventListener("error", () => {
      if (this.video.getAttribute("src")) this.say("This recording cannot be shown here.");
    });
  }

  close() {
    this.closed = true;
    this.video.removeAttribute("src");
    this.video.load();
  }

  say(text) {
    this.message.textContent = text;
    this.message.hidden = !text;
  }

  async play(at) {
    const part = this.timeline.parts.find(({ end_ms }) => end_ms > at + JOIN_MS);
    if (!part) {
      this.over();
      return;
    }
    const from = Math.max(at, part.start_ms);
    const to = Math.min(part.end_ms, from + PLAYED_MS);
    const path = `/cameras/${this.camera.id}/span.mp4?from=${Math.floor(from)}&to=${Math.ceil(to)}&server=${part.server}`;
    try {
      const { ticket } = await call("POST", `/cameras/${this.camera.id}/ticket`);
      const head = await fetch(`/api/v1${path}`, { headers: { ...authorization(), Range: "bytes=0-0" }, cache: "no-store" });
      if (!head.ok) throw new Problem(head.status, await head.json().catch(() => ({})));
      if (this.closed) return;
      this.base = Number(head.headers.get("Understudy-Start")) || from;
      this.next = Number(head.headers.get("Understudy-Next") || head.headers.get("Understudy-End")) || to;
      this.video.src = `/api/v1${path}&ticket=${encodeURIComponent(ticket)}`;
      this.say("");
      await this.video.play().catch(() => {}); // It has controls.
    } catch (error) {
      if (!this.closed) this.say(error.status ? error.message : "The host cannot be reached.");
    }
  }

  told() {
    if (this.closed || !this.video.getAttribute("src")) return;
    const seen = this.base + this.video.currentTime * 1000;
    this.time.textContent = clock(seen);
    this.timeline.move(seen);
  }
}
