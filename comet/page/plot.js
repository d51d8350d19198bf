// A plot of latencies that moves: p50 and p99 of each second, the last minute of them.

const SECONDS = 60;
const WIDTH = 600;
const HEIGHT = 160;
const SVG = "http://www.w3.org/2000/svg";

export class Plot {
  #svg;
  #lines = {};
  #labels = [];
  #samples = [];
  #history = [];

  constructor(svg) {
    this.#svg = svg;
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    for (const part of [0.25, 0.5, 0.75, 1]) {
      const y = HEIGHT * (1 - part);
      this.#add("line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y });
      const label = this.#add("text", { class: "scale", x: 4, y: y + 13 });
      this.#labels.push([part, label]);
    }
    for (const name of ["p99", "p50"]) this.#lines[name] = this.#add("polyline", { class: name });
  }

  /** Takes one latency, in milliseconds. */
  add(latency) {
    this.#samples.push(latency);
  }

  /** A second is over: draws what came in it. Returns its percentiles, or nothing if nothing came. */
  tick() {
    const sorted = this.#samples.sort((a, b) => a - b);
    this.#samples = [];
    const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
    const point = sorted.length ? { p50: at(0.5), p99: at(0.99) } : undefined;
    this.#history.push(point);
    this.#history.splice(0, this.#history.length - SECONDS);
    this.#draw();
    return point;
  }

  #draw() {
    const highest = Math.max(0.5, ...this.#history.map((point) => point?.p99 ?? 0));
    // The scale is a round number, so that it does not jump every second.
    const unit = 10 ** Math.floor(Math.log10(highest));
    const top = [1, 2, 5, 10].find((factor) => factor * unit >= highest) * unit;
    for (const [part, label] of this.#labels) label.textContent = `${+(top * part).toPrecision(3)} ms`;
    const step = WIDTH / (SECONDS - 1);
    const first = SECONDS - this.#history.length;
    for (const [name, line] of Object.entries(this.#lines)) {
      const points = this.#history.flatMap((point, index) =>
        point ? [`${((first + index) * step).toFixed(1)},${(HEIGHT * (1 - point[name] / top)).toFixed(1)}`] : [],
      );
      line.setAttribute("points", points.join(" "));
    }
  }

  #add(name, attributes) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    this.#svg.append(element);
    return element;
  }
}
