// Compiled, not run: the types that the package promises.

import { Comet, CometError, type Position, type Subscription } from "@wirestate/comet";

interface Score {
  points: number;
}

const comet = new Comet(new URL("wss://example.org/ws"), { token: async () => null, events: "https://example.org/events" });
const score: Subscription = comet.subscribe<Score>("score", {
  limit: 1,
  publication: ({ data, offset, user }) => [data.points.toFixed(), offset + 1, user?.length],
  gap: (gap) => (gap.why === "missed" ? gap.to - gap.from : 0),
  ready: ({ recovered }) => recovered === true,
  refused: (error) => error.code.length,
  join: ({ client, info }) => [client, info],
});
const place: Position | undefined = score.position;
comet.subscribe("other", { since: place });

export async function main(): Promise<number> {
  const { epoch, offset } = await comet.publish("score", { points: 1 }, { key: true, within: 5_000 });
  const { publications, more } = await comet.history<Score>("score", { before: offset });
  const { total } = await comet.presence("score");
  comet.addEventListener("close", ({ detail }) => detail.isFinal && detail.code);
  comet.addEventListener("open", ({ detail }) => detail.client?.length);
  comet.addEventListener("subscribed", ({ detail }) => {
    detail.handlers = { publication: ({ data }) => data };
  });
  // @ts-expect-error: there is no such option.
  new Comet("ws://127.0.0.1/ws", { tokens: "x" });
  // @ts-expect-error: a page is before an offset, not before a position.
  await comet.history("score", { before: place });
  // @ts-expect-error: nobody else says what a client hears.
  score.channel = "x";
  try {
    await comet.authorize("x.y.z");
  } catch (error) {
    if (error instanceof CometError) return error.code.length;
  }
  return total + publications[0].data.points + epoch.length + Number(more);
}
