"use strict";

const byId = (id) => document.getElementById(id);
const log = byId("log");
const KEPT = 500;
let socket;
let delay = 250;

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

const heard = {
  welcome: ({ name }) => { byId("name").placeholder = name; },
  said: ({ from, text }) => show(text, from),
  count: ({ connections }) => {
    byId("count").textContent = connections.toLocaleString();
    byId("unit").textContent = connections === 1 ? "connection" : "connections";
  },
  error: ({ reason }) => show(reason),
};

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/ws`);
  socket.onopen = () => {
    delay = 250;
    document.body.classList.add("open");
    byId("state").textContent = "connected";
  };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    heard[message.type]?.(message);
  };
  socket.onclose = () => {
    document.body.classList.remove("open");
    byId("state").textContent = "reconnecting";
    // Spread out, so that not all come back at once.
    setTimeout(connect, delay * (0.5 + Math.random()));
    delay = Math.min(delay * 2, 15000);
  };
}

byId("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("text");
  if (socket.readyState === WebSocket.OPEN && text.value.trim()) {
    socket.send(JSON.stringify({ type: "say", text: text.value, name: byId("name").value }));
    text.value = "";
  }
});

connect();
