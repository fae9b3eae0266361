// Server-sent events through fetch, so that the login travels in a header and never in an address.

import { authorization } from "./api.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8000;
const SILENCE = 25000; // the server says something every ten seconds

// Calls handlers.opened() on each (re)connection, .event(name, data), .lost(), and .refused() when the login
// has ended. Returns a function that stops it.
export function follow(kinds, handlers) {
  let stopped = false;
  let lastId = null;
  let controller = null;
  let pause = FIRST_PAUSE;
  let wake = null;

  async function once() {
    controller = new AbortController();
    let watchdog = setTimeout(() => controller.abort(), SILENCE);
    const heard = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => controller.abort(), SILENCE);
    };
    try {
      const headers = { ...authorization(), Accept: "text/event-stream" };
      if (lastId !== null) headers["Last-Event-ID"] = lastId;
      const answer = await fetch(`/api/v1/events?kinds=${kinds.join(",")}`, {
        headers, signal: controller.signal, cache: "no-store",
      });
      if (answer.status === 401 || answer.status === 403) {
        stopped = true;
        handlers.refused();
        return;
      }
      if (!answer.ok || !answer.body) return;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      let greeted = false;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        heard();
        if (!greeted) {
          greeted = true;
          pause = FIRST_PAUSE;
          handlers.opened();
        }
        const frames = (rest + value).split("\n\n");
        rest = frames.pop();
        for (const frame of frames) take(frame);
      }
    } catch {
      // Lost, or stopped: both are dealt with where we are called.
    } finally {
      clearTimeout(watchdog);
    }
  }

  function take(frame) {
    let name = "message";
    let data = "";
    for (const line of frame.split("\n")) {
      if (line.startsWith("id: ")) lastId = line.slice(4);
      else if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (!data) return;
    try {
      handlers.event(name, JSON.parse(data));
    } catch (error) {
      console.error("event not understood", name, error);
    }
  }

  async function run() {
    while (!stopped) {
      await once();
      if (stopped) return;
      handlers.lost();
      const wait = pause / 2 + Math.random() * pause / 2;
      pause = Math.min(pause * 2, LONGEST_PAUSE);
      await new Promise((resolve) => {
        wake = resolve;
        setTimeout(resolve, wait);
      });
    }
  }

  const online = () => wake && wake();
  window.addEventListener("online", online);
  run();
  return () => {
    stopped = true;
    window.removeEventListener("online", online);
    if (controller) controller.abort();
    if (wake) wake();
  };
}
