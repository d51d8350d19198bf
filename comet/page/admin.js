// The page of administration: what all nodes report, and orders to them, by the API.

const PAUSE = 2_000;
const MOST_ROWS = 200;
const KEY = "comet-api-token";

const byId = (id) => document.getElementById(id);
let token = sessionStorage.getItem(KEY) ?? "";
/** The counters of each node when they last changed, for rates. */
const before = new Map();
/** The channel whose clients are shown. */
let shown = "";
let timer = 0;

/** A refusal of the API, or of the network. */
class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function call(path, body) {
  const headers = { Authorization: `Bearer ${token}` };
  const options = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, { ...options, cache: "no-store" });
  } catch {
    throw new Refused(0, "comet does not answer");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, said.reason ?? `status ${answer.status}`);
  return said;
}

function say(text, isBad = false) {
  byId("said").textContent = text;
  byId("said").className = isBad ? "bad" : "";
}

// Tables keep their rows, so that a refresh moves neither the focus nor what is selected.

function cell(row, text, kind) {
  const made = row.appendChild(document.createElement(kind ?? "td"));
  made.textContent = text;
  return made;
}

function act(row, text, name, then) {
  const button = row.appendChild(document.createElement("td")).appendChild(document.createElement("button"));
  button.type = "button";
  button.textContent = text;
  button.setAttribute("aria-label", `${text} ${name}`);
  button.addEventListener("click", () => then(button));
}

/** Shows one row for each item; `texts` are the texts of its cells, `buttons` adds the last ones once. */
function fill(body, items, key, texts, buttons) {
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  items.slice(0, MOST_ROWS).forEach((item, index) => {
    const name = key(item);
    let row = known.get(name);
    known.delete(name);
    const values = texts(item);
    if (!row) {
      row = document.createElement("tr");
      row.dataset.key = name;
      values.forEach((_, at) => {
        const made = cell(row, "", at === 0 ? "th" : "td");
        if (at === 0) made.scope = "row";
      });
      buttons?.(row, item);
    }
    values.forEach((value, at) => {
      const [text, className] = Array.isArray(value) ? value : [value, ""];
      if (row.cells[at].textContent !== String(text)) row.cells[at].textContent = text;
      row.cells[at].className = className;
    });
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
  for (const row of known.values()) row.remove();
  body.closest("table").hidden = items.length === 0;
}

// What nodes report.

const number = (value) => Math.round(value).toLocaleString("en");
const rate = (value) => (value === undefined ? "–" : value >= 10 ? number(value) : value.toFixed(1));

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; value >= 1024 && at < units.length - 1; at += 1) value /= 1024;
  return `${value >= 10 || at === 0 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

function time(seconds) {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

/** The counters of a node by name, and what they grew by in a second. */
function measured(node) {
  const counters = { ...Object.fromEntries(node.counters), cpu: node.cpu };
  const last = before.get(node.node);
  const now = performance.now();
  if (!last || last.counters.cpu !== counters.cpu || node.uptime !== last.uptime) {
    const passed = (now - (last?.at ?? now)) / 1000;
    const grown = (name) => {
      const growth = counters[name] - (last?.counters[name] ?? NaN);
      return passed > 0 && growth >= 0 ? growth / passed : undefined;
    };
    before.set(node.node, { at: now, counters, uptime: node.uptime, rates: Object.fromEntries(Object.keys(counters).map((name) => [name, grown(name)])) });
  }
  return { counters, rates: before.get(node.node).rates };
}

function showNodes(nodes) {
  const all = nodes.map((node) => ({ ...node, ...measured(node) }));
  for (const name of before.keys()) if (!all.some(({ node }) => node === name)) before.delete(name);
  const state = (node) => {
    if (!node.connected) return ["no broker", "bad"];
    return node.ready ? ["ready", "good"] : ["not ready", "bad"];
  };
  fill(byId("nodes"), all, ({ node }) => node, (node) => [
    node.node, state(node), number(node.counters.active ?? 0), number(node.counters.subscriptions ?? 0),
    rate(node.rates.published), rate(node.rates.deliveries), [rate(node.rates.missed), node.rates.missed > 0 ? "bad" : ""],
    number(node.counters.too_slow ?? 0), bytes(node.memory),
    node.rates.cpu === undefined ? "–" : `${number(node.rates.cpu / 10)} %`, time(node.uptime),
  ], (row, { node }) => act(row, "Drain", node, () => drain(node, 10)));
  const sum = (pick) => all.reduce((total, node) => total + (pick(node) ?? 0), 0);
  const totals = {
    Nodes: number(all.length),
    Clients: number(sum(({ counters }) => counters.active)),
    Subscriptions: number(sum(({ counters }) => counters.subscriptions)),
    "Published/s": rate(sum(({ rates }) => rates.published)),
    "Delivered/s": rate(sum(({ rates }) => rates.deliveries)),
    "Missed/s": rate(sum(({ rates }) => rates.missed)),
    Memory: bytes(sum(({ memory }) => memory)),
  };
  const list = byId("totals");
  Object.entries(totals).forEach(([name, value], at) => {
    const group = list.children[at] ?? list.appendChild(document.createElement("div"));
    if (!group.firstChild) group.append(document.createElement("dt"), document.createElement("dd"));
    group.firstChild.textContent = name;
    group.lastChild.textContent = value;
  });
  showPlaces([...new Set(all.flatMap(({ server, node }) => [server, node]))].sort());
  showSlow(all.flatMap(({ slow }) => slow ?? []).sort((one, two) => one.ago - two.ago));
}

/** The nodes and servers that can be drained. */
function showPlaces(names) {
  const select = byId("drain").elements.node;
  const old = [...select.options].slice(1).map(({ value }) => value);
  if (old.join() === names.join()) return;
  const chosen = select.value;
  select.length = 1;
  for (const name of names) select.add(new Option(name, name, false, name === chosen));
}

function showSlow(slow) {
  byId("no-slow").hidden = slow.length > 0;
  fill(byId("slow"), slow, ({ client, channel }) => `${client} ${channel}`, (one) => [
    one.client, [one.channel, "long"], number(one.missed), one.closed ? ["disconnected", "bad"] : "told what is missing", time(one.ago),
  ], (row, { client }) => act(row, "Disconnect", client, () => disconnect({ client })));
}

function showChannels({ channels, more }) {
  const text = byId("filter").value;
  const fitting = channels.filter(({ channel }) => channel.includes(text)).sort((one, two) => two.subscribers - one.subscribers);
  const left = more + Math.max(0, fitting.length - MOST_ROWS);
  byId("more-channels").textContent = left > 0 ? `${number(left)} more are not shown.` : fitting.length === 0 ? "None." : "";
  fill(byId("channels"), fitting, ({ channel }) => channel, ({ channel, subscribers, nodes }) => [
    [channel, "long"], number(subscribers), number(nodes),
  ], (row, { channel }) => act(row, "Clients", `of ${channel}`, () => {
    shown = channel;
    showClients(true);
  }));
}

async function showClients(moves) {
  if (!shown) return;
  const channel = shown;
  const { total, clients } = await call(`/api/presence?channel=${encodeURIComponent(channel)}`);
  if (channel !== shown) return;
  byId("who").hidden = false;
  byId("who-title").textContent = `Clients of ${channel}`;
  const unknown = "None are known: the rule of the channel has no presence, or nobody is there.";
  byId("who-count").textContent = total === 0 ? unknown : total > MOST_ROWS ? `${number(total)}, of which ${MOST_ROWS} are shown.` : "";
  fill(byId("clients"), clients, ({ client }) => client, ({ client, user, info }) => [
    client, [user ?? "", "long"], [info === undefined ? "" : JSON.stringify(info), "long"],
  ], (row, { client }) => act(row, "Disconnect", client, () => disconnect({ client })));
  if (moves) byId("who-title").focus();
}

async function refresh() {
  clearTimeout(timer);
  try {
    const { replies } = await call("/api/batch", { commands: [{ nodes: {} }, { channels: {} }] });
    byId("enter").hidden = true;
    byId("inside").hidden = byId("leave").hidden = false;
    byId("state").textContent = "live";
    showNodes(replies[0].nodes.nodes);
    showChannels(replies[1].channels);
    await showClients(false);
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    byId("state").textContent = refused.message;
    // Another answer than to the token: the next one may be better.
    if (refused.status === 401) return signOut(refused.message);
  }
  if (token) timer = setTimeout(refresh, PAUSE);
}

function signOut(why) {
  clearTimeout(timer);
  token = shown = "";
  sessionStorage.removeItem(KEY);
  byId("inside").hidden = byId("leave").hidden = byId("who").hidden = true;
  byId("enter").hidden = false;
  byId("state").textContent = why;
  byId("token").focus();
}

// Orders.

/** Answers the question that is asked now. */
let decide = () => {};

/** Asks before something that clients notice. */
function sure(question) {
  decide(false);
  byId("question").textContent = question;
  byId("sure").showModal();
  byId("no").focus();
  return new Promise((resolve) => {
    decide = (answer) => {
      byId("sure").close();
      resolve(answer);
    };
  });
}

byId("yes").addEventListener("click", () => decide(true));
byId("no").addEventListener("click", () => decide(false));
byId("sure").addEventListener("cancel", () => decide(false));

async function order(path, body, done) {
  try {
    const said = await call(path, body);
    say(typeof done === "function" ? done(said) : done);
    refresh();
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    say(`Not done: ${refused.message}`, true);
  }
}

async function disconnect(whom) {
  const name = whom.client ? `the client ${whom.client}` : `all clients of ${whom.user}`;
  if (await sure(`Disconnect ${name}?`)) await order("/api/disconnect", whom, `Disconnected: ${name}.`);
}

async function drain(node, seconds, ready) {
  const name = node || "all nodes";
  if (!ready && !(await sure(`Ask the clients of ${name} to come back, over ${seconds} s?`))) return;
  const body = { seconds, ...(node && { node }), ...(ready !== undefined && { ready }) };
  await order("/api/drain", body, ready ? `Ready again: ${name}.` : `Draining: ${name}.`);
}

/** The fields of a form that are filled in. */
const filled = (form) => Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));

byId("publish").addEventListener("submit", (event) => {
  event.preventDefault();
  const { channel, data } = filled(event.target);
  try {
    const told = ({ offset }) => `Published in ${channel}, with offset ${offset}.`;
    order("/api/publish", { channel, data: JSON.parse(data) }, told);
  } catch (error) {
    say(`Not published: the data is no JSON: ${error.message}`, true);
  }
});

byId("disconnect").addEventListener("submit", (event) => {
  event.preventDefault();
  const { user, client, reason } = filled(event.target);
  if (!user && !client) return say("Not done: name a user or a client.", true);
  disconnect({ ...(user && { user }), ...(client && { client }), ...(reason && { reason }) });
});

byId("drain").addEventListener("submit", (event) => {
  event.preventDefault();
  const { node, seconds, ready } = filled(event.target);
  drain(node ?? "", Number(seconds), ready === undefined ? undefined : ready === "true");
});

byId("filter").addEventListener("input", refresh);
byId("leave").addEventListener("click", () => signOut("signed out"));
byId("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value;
  byId("token").value = "";
  sessionStorage.setItem(KEY, token);
  refresh();
});

if (token) refresh();
else byId("token").focus();
