// The page: a chat, the server's figures, and buttons to try what it does.

import { Comet } from "/comet.js";
import { Plot } from "/plot.js";

const CHAT = "demo:chat";
const NODES = "$nodes";
const KEPT = 500;
const GONE = 5_000;
const MANY = 1000;
const BOTS = 10;
const MOST_BOTS = 100;

const byId = (id) => document.getElementById(id);
const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const url = `${scheme}//${location.host}/ws`;
const comet = new Comet(url);
const plot = new Plot(byId("latency"));
/** Names this page in what it and its bots publish, so that it knows its own clock's times. */
const page = Math.random().toString(36).slice(2);

// The connection.

comet.addEventListener("open", ({ detail }) => {
  document.body.classList.add("open");
  byId("state").textContent = `connected to worker ${detail.worker}`;
  byId("name").placeholder = `guest-${detail.client.split("-").pop()}`;
});

comet.addEventListener("close", ({ detail }) => {
  document.body.classList.remove("open");
  byId("state").textContent = detail.code === 1012 ? "drained, reconnecting" : "reconnecting";
});

// The chat.

const log = byId("log");

function show(text, from) {
  const line = document.createElement("li");
  if (from) {
    const name = document.createElement("b");
    name.textContent = from;
    line.append(name);
  } else {
    line.className = "note";
  }
  line.append(text);
  const follow = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(line);
  while (log.children.length > KEPT) log.firstChild.remove();
  if (follow) log.scrollTop = log.scrollHeight;
}

comet.subscribe(CHAT, {
  limit: 20,
  publication: ({ data, user }) => {
    if (data?.page === page && data.sent !== undefined) plot.add(performance.now() - data.sent);
    show(String(data?.text ?? ""), user ?? String(data?.from ?? "somebody"));
  },
  gap: () => show("Some messages may be missing here."),
  ready: ({ recovered }) => {
    if (recovered) show("Reconnected; nothing was missed.");
  },
  refused: ({ message }) => show(`No chat: ${message}`),
});

function say(client, from, text) {
  return client.publish(CHAT, { from, text, page, sent: performance.now() });
}

byId("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = byId("text");
  if (!text.value.trim()) return;
  try {
    await say(comet, byId("name").value.trim() || byId("name").placeholder, text.value);
    text.value = "";
  } catch (error) {
    show(`Not sent: ${error.message}`);
  }
});

// The figures: each node tells its own once a second.

const nodes = new Map();

comet.subscribe(NODES, {
  publication: ({ data }) => {
    const before = nodes.get(data.node);
    const counters = Object.fromEntries(data.counters);
    nodes.set(data.node, { ...data, counters, before, at: performance.now() });
    if (before) delete before.before;
    draw();
  },
  ready: () => { byId("controls").hidden = false; },
  refused: () => { byId("no-figures").hidden = false; },
});

const count = (number) => Math.round(number).toLocaleString("en");

function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB"];
  const unit = number > 0 ? Math.min(units.length - 1, Math.floor(Math.log2(number) / 10)) : 0;
  return `${count(number / 1024 ** unit)} ${units[unit]}`;
}

function draw() {
  const now = performance.now();
  for (const [name, { at }] of nodes) if (now - at > GONE) nodes.delete(name);
  const all = [...nodes.values()].sort((a, b) => a.node.localeCompare(b.node));
  const sum = (value) => all.reduce((total, node) => total + value(node), 0);
  const rate = (value) => sum((node) => {
    const seconds = node.before ? (node.at - node.before.at) / 1000 : 0;
    return seconds > 0 ? Math.max(0, value(node) - value(node.before)) / seconds : 0;
  });
  const connections = sum((node) => node.counters.active);
  byId("connections").textContent = count(connections);
  byId("rate").textContent = count(rate((node) => node.counters.deliveries));
  // Of a few connections the program itself would be most of it.
  const memory = sum((node) => node.memory);
  byId("memory").textContent = connections < MANY ? bytes(memory) : `${bytes(memory)}, ${bytes(memory / connections)} each`;
  byId("cpu").textContent = `${count(rate((node) => node.cpu) / 10)} %`;
  byId("missed").textContent = count(sum((node) => node.counters.missed));
  byId("recovered").textContent = count(sum((node) => node.counters.recovered));
  const most = Math.max(1, ...all.map((node) => node.counters.active));
  byId("workers").replaceChildren(...all.map((node) => {
    const [line, name, track, bar, number] = ["li", "span", "span", "div", "b"].map((tag) => document.createElement(tag));
    name.textContent = `worker ${node.worker}`;
    bar.className = "bar";
    bar.style.width = `${(100 * node.counters.active) / most}%`;
    number.textContent = count(node.counters.active);
    track.append(bar);
    line.append(name, track, number);
    return line;
  }));
}

const milliseconds = (time) => `${time < 10 ? time.toFixed(2) : count(time)} ms`;

setInterval(async () => {
  if (comet.isOpen) {
    const sent = performance.now();
    comet.request({ type: "ping" }).then(() => plot.add(performance.now() - sent), () => {});
  }
  const point = plot.tick();
  if (point) for (const name of ["p50", "p99"]) byId(name).textContent = milliseconds(point[name]);
}, 1000);

// The buttons.

const LINES = [
  "Hello there", "Anyone here?", "I am only a bot", "Pushing on", "What a fine channel", "Still reading along",
  "Nothing was lost", "Beep", "That was quick", "Numbers have no gaps",
];
const bots = [];

function tried(text) {
  byId("tried").textContent = text;
  byId("no-bots").disabled = bots.length === 0;
  byId("more-bots").disabled = bots.length >= MOST_BOTS;
}

class Bot {
  constructor(number) {
    this.client = new Comet(url);
    this.client.subscribe(CHAT, {});
    const talk = () => {
      if (this.client.isOpen) say(this.client, `bot ${number}`, LINES[Math.floor(Math.random() * LINES.length)]).catch(() => {});
      this.timer = setTimeout(talk, 1000 + Math.random() * 4000);
    };
    this.timer = setTimeout(talk, Math.random() * 2000);
  }

  stop() {
    clearTimeout(this.timer);
    this.client.close();
  }
}

byId("more-bots").addEventListener("click", () => {
  for (let more = 0; more < BOTS; more++) bots.push(new Bot(bots.length + 1));
  tried(`${bots.length} bots chat from this page.`);
});

byId("no-bots").addEventListener("click", () => {
  for (const bot of bots.splice(0)) bot.stop();
  tried("The bots are gone.");
});

async function demo(what) {
  const answer = await fetch(`/demo/${what}`, { method: "POST", headers: { "X-Comet-Demo": "1" } });
  tried(await answer.text());
}

byId("slow-reader").addEventListener("click", () => {
  tried("A client that reads slowly is sent 16 MB …");
  demo("slow-reader").catch((error) => tried(error.message));
});

byId("drain").addEventListener("click", () => {
  demo("drain").catch((error) => tried(error.message));
});
