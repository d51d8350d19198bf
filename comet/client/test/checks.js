// What the client does, checked against a server: the same in Node and in a browser, where the text of this function is evaluated.
//
// `ask(path, body)` calls the server's API; `options` are for every client.

async function checks({ Comet, url, tokens, ask, options, events }) {
  const passed = [];
  const run = Math.random().toString(36).slice(2);
  const PATIENCE = 10_000;

  function equal(seen, expected, what) {
    const [one, other] = [seen, expected].map((value) => JSON.stringify(value));
    if (one !== other) throw new Error(`${what}: ${one} instead of ${other}`);
  }

  async function until(holds, what) {
    const end = performance.now() + PATIENCE;
    for (;;) {
      const value = holds();
      if (value) return value;
      if (performance.now() > end) throw new Error(`never: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  const open = [];

  function connect(more = {}) {
    const comet = new Comet(url, { minDelay: 100, maxDelay: 500, ...options, ...more });
    comet.heard = [];
    for (const name of ["open", "close", "error"]) comet.addEventListener(name, ({ detail }) => comet.heard.push([name, detail]));
    open.push(comet);
    return comet;
  }

  const of = (heard, name) => heard.filter(([known]) => known === name).map(([, value]) => value);

  /** Subscribes, and keeps what the handlers are called with. */
  function listen(comet, channel, more = {}) {
    const heard = [];
    const keep = (name) => [name, (value) => heard.push([name, value])];
    const handlers = ["publication", "gap", "ready", "refused", "join", "leave"].map(keep);
    const subscription = comet.subscribe(channel, { ...more, ...Object.fromEntries(handlers) });
    return { subscription, heard, next: (name, count = 1) => until(() => of(heard, name)[count - 1], `${name} of ${channel}`) };
  }

  const data = (heard) => of(heard, "publication").map((publication) => publication.data);
  const isOpen = (comet, times = 1) => until(() => of(comet.heard, "open")[times - 1], "open");

  /** The API cuts the client's connection; `then` runs while it is away. */
  async function cut(comet, then) {
    const before = of(comet.heard, "open").length;
    const { client } = of(comet.heard, "open")[before - 1];
    const away = new Promise((resolve) => comet.addEventListener("close", resolve, { once: true }));
    await ask("/api/disconnect", { client, code: 3000, reason: "cut" });
    await away;
    await then();
    await isOpen(comet, before + 1);
  }

  async function refusal(promise) {
    try {
      return `no refusal: ${JSON.stringify(await promise)}`;
    } catch (error) {
      return error.code;
    }
  }

  const all = {
    async "publishes, hears it, and knows who is there"() {
      const [ann, bob] = [connect({ token: tokens.ann }), connect()];
      const channel = `room:${run}`;
      const [hers, his] = [listen(ann, channel), listen(bob, channel)];
      await Promise.all([hers.next("ready"), his.next("ready")]);
      const { epoch, offset } = await ann.publish(channel, { text: "grüß dich ✓" });
      equal([epoch.length > 0, offset], [true, 1], "the position");
      equal(await his.next("publication"), { offset: 1, data: { text: "grüß dich ✓" }, user: "ann" }, "the publication");
      equal(his.subscription.position, { epoch, offset: 1 }, "where the client stands");
      await until(() => of(his.heard, "join").length + of(hers.heard, "join").length >= 3, "both hear who comes");
      const { total, clients } = await ann.presence(channel);
      equal([total, clients.find(({ user }) => user).info], [2, { name: "Ann" }], "presence");
      for (const text of ["b", "c"]) await bob.publish(channel, text);
      const page = await bob.history(channel, { limit: 2 });
      equal([page.publications.map((one) => one.offset), page.more], [[2, 3], true], "the newest page");
      const earlier = await bob.history(channel, { before: 2 });
      equal(earlier.publications.map((one) => one.offset), [1], "the page before");
      ann.close();
      equal((await his.next("leave")).user, "ann", "who leaves");
      equal(of(ann.heard, "close"), [{ code: 1000, reason: "closed by the client", isFinal: true }], "the end");
      equal(await refusal(ann.publish(channel, 1)), "closed", "a request after the end");
    },

    async "resumes many channels, each publication once"() {
      const comet = connect();
      const channels = Array.from({ length: 20 }, (_, index) => `many:${run}:${index}`);
      const heard = channels.map((channel) => listen(comet, channel));
      await Promise.all(heard.map(({ next }) => next("ready")));
      await ask("/api/publish", { channels, data: "before" });
      await Promise.all(heard.map(({ next }) => next("publication")));
      await cut(comet, async () => {
        for (const text of ["while", "away"]) await ask("/api/publish", { channels, data: text });
      });
      await Promise.all(heard.map(({ next }) => next("ready", 2)));
      await ask("/api/publish", { channels, data: "after" });
      await Promise.all(heard.map(({ next }) => next("publication", 4)));
      for (const { heard: one } of heard) {
        equal(data(one), ["before", "while", "away", "after"], "the publications");
        equal([of(one, "ready")[1].recovered, of(one, "gap")], [true, []], "recovery");
      }
    },

    async "tells a gap, and goes on with what is left"() {
      const comet = connect({ minDelay: 1000, maxDelay: 1000 });
      const channel = `few:${run}`;
      const { heard, next } = listen(comet, channel);
      await next("ready");
      await cut(comet, async () => {
        // Before the client comes back.
        await ask("/api/batch", { commands: [1, 2, 3, 4, 5].map((data) => ({ publish: { channel, data } })) });
      });
      await next("publication", 3);
      equal([of(heard, "gap"), data(heard)], [[{ why: "unrecovered" }], [3, 4, 5]], "the gap");
    },

    async "begins with the last publications, or after a position"() {
      const comet = connect();
      const channel = `room:first:${run}`;
      const positions = [];
      for (const number of [1, 2, 3]) positions.push(await ask("/api/publish", { channel, data: number }));
      const last = listen(comet, channel, { limit: 2 });
      await last.next("ready");
      equal(data(last.heard), [2, 3], "the last two");
      equal(await refusal((async () => comet.subscribe(channel))()), "already-subscribed", "a second time");
      last.subscription.unsubscribe();
      const { epoch, offset } = positions[0];
      const later = listen(comet, channel, { since: { epoch, offset } });
      await later.next("ready");
      equal([data(later.heard), of(later.heard, "ready")[0].recovered], [[2, 3], true], "after the first");
    },

    async "begins with the latest state"() {
      const channel = `state:${run}`;
      const positions = [];
      for (const number of [1, 2]) positions.push(await ask("/api/publish", { channel, data: number }));
      const [fresh, back] = [listen(connect(), channel), listen(connect(), channel, { since: positions[1] })];
      await Promise.all([fresh.next("ready"), back.next("ready")]);
      equal([data(fresh.heard), data(back.heard)], [[2], []], "the first publications");
    },

    async "unsubscribes, also before the server has answered"() {
      const comet = connect();
      const channel = `room:left:${run}`;
      await isOpen(comet);
      const hasty = listen(comet, channel);
      hasty.subscription.unsubscribe();
      const first = listen(comet, channel);
      await first.next("ready");
      first.subscription.unsubscribe();
      await comet.publish(channel, "unheard");
      const second = listen(comet, channel);
      await second.next("ready");
      await comet.publish(channel, "heard");
      await second.next("publication");
      equal([hasty.heard, data(first.heard), data(second.heard)], [[], [], ["heard"]], "who heard what");
    },

    async "is refused, and let in with another token"() {
      const comet = connect();
      const { next } = listen(comet, "private");
      equal((await next("refused")).code, "forbidden", "without a token");
      equal(await refusal(comet.authorize("x.y.z")), "forbidden", "a bad token");
      equal((await comet.authorize(tokens.ann)).user, "ann", "the user");
      await next("ready");
      equal(await refusal(comet.history("nowhere")), "no-such-channel", "a channel that may not be");
    },

    async "renews its token before the end"() {
      let given = 0;
      const short = tokens.short.slice();
      const comet = connect({ token: async () => (given++, short.shift()) });
      const { heard, next } = listen(comet, "private");
      await next("ready");
      await until(() => given === 3, "a third token");
      // The first is over meanwhile.
      await new Promise((resolve) => setTimeout(resolve, 500));
      equal([of(comet.heard, "close"), of(heard, "refused")], [[], []], "no interruption");
      comet.close();
    },

    async "asks for another token when one is refused"() {
      const given = [tokens.ended, tokens.ann];
      const comet = connect({ token: () => given.shift() });
      equal((await isOpen(comet)).user, "ann", "the user");
      equal(of(comet.heard, "error").map(({ code }) => code), ["forbidden"], "the error");
      const guest = connect({ token: tokens.ended });
      equal((await isOpen(guest)).user, undefined, "a guest");
    },

    async "is subscribed by the server, and resumes that as well"() {
      const comet = connect({ token: tokens.served });
      const channel = "many:served";
      const heard = [];
      comet.addEventListener("subscribed", ({ detail }) => {
        detail.handlers = { publication: ({ data }) => heard.push(data), gap: () => heard.push("gap") };
      });
      await isOpen(comet);
      await ask("/api/publish", { channel, data: `${run}1` });
      await until(() => heard.includes(`${run}1`), "the first publication");
      await cut(comet, () => ask("/api/publish", { channel, data: `${run}2` }));
      await ask("/api/publish", { channel, data: `${run}3` });
      await until(() => heard.includes(`${run}3`), "the last publication");
      equal(heard.filter((text) => text === "gap" || text.startsWith(run)), [1, 2, 3].map((number) => run + number), "all");
    },

    async "publishes once for each key"() {
      const comet = connect();
      const channel = `room:keys:${run}`;
      const [one, two] = [await comet.publish(channel, 1, { key: "k" }), await comet.publish(channel, 1, { key: "k" })];
      equal(one, two, "the positions");
      equal((await comet.publish(channel, 1, { key: true })).offset, 2, "another key");
    },

    async "does what the back end wants"() {
      const comet = connect();
      const { heard, next } = listen(comet, `room:ended:${run}`);
      await next("ready");
      const { client } = await isOpen(comet);
      await ask("/api/unsubscribe", { client, channel: `room:ended:${run}`, reason: "enough" });
      const { code, message } = await next("refused");
      equal([code, message], ["unsubscribed", "enough"], "the subscription has ended");
      await ask("/api/disconnect", { client, code: 4500, reason: "gone" });
      await until(() => comet.state === "closed", "closed for good");
      equal(of(comet.heard, "close"), [{ code: 4500, reason: "gone", isFinal: true }], "the end");
      equal(of(heard, "ready").length, 1, "subscribed once");
    },

    async "listens to event streams where no WebSocket gets through"() {
      const Source = options.EventSource ?? globalThis.EventSource;
      if (!Source) return false;
      class Blocked {
        constructor() {
          setTimeout(() => this.onclose({ code: 1006, reason: "" }));
        }
        close() {}
      }
      const channel = `room:stream:${run}`;
      await ask("/api/publish", { channel, data: "first" });
      const comet = connect({ WebSocket: Blocked, events, token: tokens.ann });
      const room = listen(comet, channel, { limit: 1 });
      const own = listen(comet, "private");
      await Promise.all([room.next("publication"), own.next("ready")]);
      equal(await refusal(comet.publish(channel, 1)), "unavailable", "to publish");
      await ask("/api/publish", { channel, data: "second" });
      await room.next("publication", 2);
      // Another token opens the streams again, where they were.
      await comet.authorize(tokens.ann);
      await ask("/api/publish", { channel, data: "third" });
      await room.next("publication", 3);
      equal([data(room.heard), of(room.heard, "gap")], [["first", "second", "third"], []], "the publications");
      room.subscription.unsubscribe();
      await ask("/api/disconnect", { user: "ann", code: 4501, reason: "gone" });
      await until(() => comet.state === "closed", "closed for good");
    },
  };

  try {
    await Promise.all(Object.entries(all).map(async ([name, check]) => {
      try {
        if ((await check()) !== false) passed.push(name);
      } catch (error) {
        throw new Error(`${name}: ${error.message}`, { cause: error });
      }
    }));
  } finally {
    for (const comet of open) comet.close();
  }
  return passed;
}
