// A server's cameras, and the live picture of one, by Media Source Extensions.

import { call } from "./api.js";
import { element } from "./elements.js";
import { Playback, Timeline } from "./recordings.js";
import { sentence } from "./words.js";

const dialog = document.getElementById("dialog");
const RETRY_MS = 1000;
const BEHIND_S = 2.5; // further behind than this, it jumps to now
const KEPT_S = 30;

export async function showCameras(server) {
  const problem = element("p", { class: "error", role: "alert" });
  const list = element("ul", { class: "cameras-list", "aria-label": "Cameras" });
  const stage = element("div", { class: "stage" });
  const past = element("div", { class: "past" });
  let player = null;
  let timeline = null;
  const put = (next) => {
    player?.close();
    player = next;
    stage.replaceChildren(player.element);
  };
  const show = (camera, button) => {
    for (const other of list.querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button));
    timeline?.close();
    timeline = new Timeline(camera, watch);
    past.replaceChildren(timeline.element);
    watch(null);

    function watch(at) {
      timeline.move(at);
      put(at === null ? new Player(camera) : new Playback(camera, timeline, () => watch(null)));
      if (at !== null) player.play(at);
    }
  };
  dialog.replaceChildren(element("div", { class: "viewer" },
    element("h2", { id: "dialog-title" }, `Cameras of ${server.name}`), problem, list, stage, past,
    element("div", { class: "buttons" },
      element("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Close"))));
  dialog.classList.add("wide");
  dialog.addEventListener("close", () => {
    player?.close();
    timeline?.close();
    dialog.classList.remove("wide");
    dialog.replaceChildren();
  }, { once: true });
  if (!dialog.open) dialog.showModal();
  try {
    const { items } = await call("GET", `/servers/${server.id}/cameras`);
    list.replaceChildren(...items.map((camera) => {
      const button = element("button", { type: "button", "aria-pressed": "false", disabled: !camera.enabled }, camera.name);
      button.addEventListener("click", () => show(camera, button));
      return element("li", {}, button);
    }));
    if (!items.length) list.replaceChildren(element("li", { class: "muted" }, "This server has no cameras yet."));
  } catch (error) {
    problem.textContent = error.status ? error.message : "The host cannot be reached.";
  }
}

class Player {
  constructor(camera) {
    this.camera = camera;
    this.closed = false;
    this.queue = [];
    this.buffer = null;
    this.socket = null;
    this.timer = null;
    this.coming = false; // Whether video follows: what was received before a pause may be shown after it was told.
    this.video = element("video", { muted: true, playsinline: true, "aria-label": `Live picture of ${camera.name}` });
    this.video.muted = true;
    this.message = element("p", { class: "stage-message", role: "status" }, "Connecting…");
    this.element = element("figure", {}, this.video, this.message, element("figcaption", {}, camera.name));
    this.connect();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket?.close();
    this.forget();
  }

  say(text, bad = false) {
    this.message.textContent = text;
    this.message.hidden = !text;
    this.message.dataset.bad = String(bad);
  }

  async connect() {
    let ticket;
    try {
      ({ ticket } = await call("POST", `/cameras/${this.camera.id}/ticket`));
    } catch (error) {
      if (error.status && error.status < 500) this.say(error.message, true);
      else this.again("The host cannot be reached. Trying again…");
      return;
    }
    if (this.closed) return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const path = `/api/v1/cameras/${this.camera.id}/live?ticket=${encodeURIComponent(ticket)}`;
    const socket = new WebSocket(`${scheme}://${location.host}${path}`);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => {
      if (this.closed || this.socket !== socket) return;
      if (typeof data === "string") this.told(JSON.parse(data));
      else this.append(data);
    });
    socket.addEventListener("close", ({ code, reason }) => {
      if (this.closed || this.socket !== socket) return;
      this.coming = false;
      if ([4401, 4403, 4404, 4415].includes(code)) this.say(sentence(reason) || "The live view has ended.", true);
      else this.again("The connection was lost. Trying again…");
    });
  }

  again(text) {
    if (this.closed) return;
    this.say(text, true);
    this.timer = setTimeout(() => this.connect(), RETRY_MS);
  }

  told(message) {
    if (message.type === "waiting") {
      this.coming = false;
      this.say("Waiting for the camera…");
    }
    if (message.type !== "begin") return;
    if (!("MediaSource" in window) || !MediaSource.isTypeSupported(message.mime)) {
      this.say("This browser cannot show the camera's kind of video (" + message.mime + ").", true);
      this.socket.close();
      this.closed = true;
      return;
    }
    this.begin(message);
  }

  begin({ mime, width, height }) {
    this.forget();
    this.coming = true;
    this.video.width = width;
    this.video.height = height;
    const source = new MediaSource();
    this.address = URL.createObjectURL(source);
    this.video.src = this.address;
    source.addEventListener("sourceopen", () => {
      if (this.closed || this.video.src !== this.address) return;
      this.buffer = source.addSourceBuffer(mime);
      this.buffer.addEventListener("updateend", () => this.next());
      this.next();
    }, { once: true });
  }

  append(data) {
    this.queue.push(data);
    this.next();
  }

  next() {
    const buffer = this.buffer;
    if (!buffer || buffer.updating) return;
    try {
      if (buffer.buffered.length) this.follow(buffer);
      if (buffer.updating || !this.queue.length) return;
      // One append for all that waits: each costs the browser a task.
      const parts = this.queue.splice(0);
      buffer.appendBuffer(parts.length === 1 ? parts[0] : joined(parts));
    } catch (error) {
      this.forget();
      const socket = this.socket;
      this.socket = null; // Its end is no news.
      this.coming = false;
      socket?.close();
      this.again("The picture could not be shown. Trying again…");
    }
  }

  follow(buffer) {
    const last = buffer.buffered.length - 1;
    const [start, end] = [buffer.buffered.start(last), buffer.buffered.end(last)];
    const at = this.video.currentTime;
    if (at < start || end - at > BEHIND_S) this.video.currentTime = Math.max(start, end - 0.2);
    if (this.video.paused) this.video.play().catch(() => this.say("Press play to see the picture."));
    if (this.coming && this.video.readyState >= 2) this.say("");
    if (at - buffer.buffered.start(0) > KEPT_S) buffer.remove(0, at - KEPT_S / 2);
  }

  forget() {
    this.buffer = null;
    this.queue = [];
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = null;
  }
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(new Uint8Array(part), at);
    at += part.byteLength;
  }
  return whole;
}
