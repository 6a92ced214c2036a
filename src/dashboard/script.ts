/**
 * What runs in the page: it draws the samples that come, and nothing else. It is
 * text, as no build stands between the library and a browser.
 *
 * @module
 */

/** The script. It writes into the page by `textContent` and attributes only. */
export const SCRIPT: string = `"use strict";
{
  const KEPT = 180, WIDTH = 600, HEIGHT = 100;
  const one = (selector, within = document) => within.querySelector(selector);
  const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
  const MEANING = {
    backlog: "Backlog: nearly full",
    stalled: "Stalled: nobody takes",
    starved: "Starved: nobody puts",
    unreachable: "Unreachable: the engine does not answer",
  };

  const say = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };
  const duration = (seconds) =>
    seconds == null ? "–"
      : seconds < 1 ? Math.round(seconds * 1000) + " ms"
      : seconds < 120 ? number.format(seconds) + " s"
      : seconds < 7200 ? Math.round(seconds / 60) + " min"
      : number.format(seconds / 3600) + " h";
  const bound = (value) => value == null ? "no bound" : number.format(value);

  class Chart {
    constructor(svg, panel, lines, read) {
      Object.assign(this, { svg, panel, lines, read, back: 0 });
      this.top = one(".top", svg.parentNode);
      this.reading = one("output", svg.parentNode);
      svg.setAttribute("aria-label", panel.name + ": " + svg.getAttribute("aria-label"));
      svg.addEventListener("keydown", (event) => this.onKey(event));
      svg.addEventListener("pointermove", (event) => {
        const { left, width } = svg.getBoundingClientRect();
        this.point(Math.round((1 - (event.clientX - left) / width) * (KEPT - 1)));
      });
      svg.addEventListener("pointerleave", () => this.point(0));
    }
    onKey(event) {
      const step = event.shiftKey ? 10 : 1;
      const to = {
        ArrowLeft: this.back + step, ArrowDown: this.back + step,
        ArrowRight: this.back - step, ArrowUp: this.back - step,
        Home: Infinity, End: 0, Escape: 0,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.point(to);
    }
    point(back) {
      this.back = Math.max(0, Math.min(back, this.panel.samples.length - 1));
      this.draw();
    }
    draw() {
      const { samples } = this.panel;
      if (samples.length === 0) return;
      let most = 1;
      for (const sample of samples) {
        for (const [, valueOf] of this.lines) most = Math.max(most, valueOf(sample) ?? 0);
      }
      most *= 1.1;
      const x = (back) => WIDTH - back * WIDTH / (KEPT - 1);
      for (const [name, valueOf] of this.lines) {
        let path = "";
        samples.forEach((sample, index) => {
          const value = valueOf(sample);
          if (value == null) return;
          const y = HEIGHT - value / most * HEIGHT;
          path += (path === "" ? "M" : "L") + x(samples.length - 1 - index).toFixed(1) + " " + y.toFixed(1);
        });
        one("." + name, this.svg).setAttribute("d", path);
        if (name === "stored" && path !== "") {
          one(".area", this.svg).setAttribute("d",
            path + "V" + HEIGHT + "H" + x(samples.length - 1).toFixed(1) + "Z");
        }
      }
      const seen = samples[samples.length - 1 - this.back];
      const ago = (samples[samples.length - 1].at - seen.at) / 1000;
      const text = (this.back === 0 ? "Now" : duration(ago) + " ago") + ": " + this.read(seen);
      one(".cursor", this.svg).setAttribute("d",
        this.back === 0 ? "" : "M" + x(this.back).toFixed(1) + " 0V" + HEIGHT);
      say(this.top, "up to " + number.format(most));
      say(this.reading, text);
      this.svg.setAttribute("aria-valuemin", 1 - samples.length);
      this.svg.setAttribute("aria-valuenow", -this.back);
      this.svg.setAttribute("aria-valuetext", text);
    }
  }

  class Panel {
    constructor(section) {
      this.samples = [];
      this.alerts = [];
      this.name = one("h2", section).textContent;
      section.append(one("#panel").content.cloneNode(true));
      this.list = one(".alerts", section);
      this.section = section;
      this.charts = [
        new Chart(one(".depth", section), this, [
          ["stored", (sample) => sample.size],
          ["bound", (sample) => sample.highWaterMark],
        ], (sample) => number.format(sample.size) + " of " + bound(sample.highWaterMark)),
        new Chart(one(".rates", section), this, [
          ["in", (sample) => sample.inRate],
          ["out", (sample) => sample.outRate],
        ], (sample) => number.format(sample.inRate) + " in, " +
          number.format(sample.outRate) + " out a second"),
        new Chart(one(".waits", section), this, [
          ["puts", (sample) => sample.waitingPuts],
          ["gets", (sample) => sample.waitingGets],
        ], (sample) => number.format(sample.waitingPuts) + " puts, " +
          number.format(sample.waitingGets) + " gets"),
      ];
    }
    add(sample) {
      const last = this.samples[this.samples.length - 1];
      if (last && last.at > sample.at) this.samples.length = 0; // the server began anew
      this.samples.push(sample);
      if (this.samples.length > KEPT) this.samples.shift();
      this.show(sample);
      for (const chart of this.charts) {
        // Who looks at a moment goes on looking at it.
        if (chart.back > 0) chart.back = Math.min(chart.back + 1, this.samples.length - 1);
        chart.draw();
      }
    }
    show(sample) {
      const numbers = {
        length: number.format(sample.length),
        inRate: number.format(sample.inRate),
        outRate: number.format(sample.outRate),
        waitingPuts: number.format(sample.waitingPuts),
        waitingGets: number.format(sample.waitingGets),
        inFlight: number.format(sample.inFlight),
        deadLetters: sample.deadLetters == null ? "–" : number.format(sample.deadLetters),
        oldestAge: duration(sample.oldestAge == null ? null : sample.oldestAge / 1000),
        fullIn: duration(sample.timeToFull),
        emptyIn: duration(sample.timeToEmpty),
        state: sample.state,
      };
      for (const name in numbers) say(one("[data-value=" + name + "]", this.section), numbers[name]);
      for (const kind of sample.alerts) if (!this.alerts.includes(kind)) note(this.name, MEANING[kind], kind);
      for (const kind of this.alerts) if (!sample.alerts.includes(kind)) note(this.name, "Recovered from " + kind, "recovered");
      this.alerts = sample.alerts;
      this.section.classList.toggle("troubled", this.alerts.length > 0);
      const said = this.alerts.map((kind) => MEANING[kind] +
        (kind === "unreachable" && sample.failure ? " (" + sample.failure + ")" : ""));
      if (this.list.dataset.said === said.join()) return;
      this.list.dataset.said = said.join();
      this.list.replaceChildren(...said.map((text, index) => entry(this.alerts[index], text)));
    }
  }

  const status = one("#status"), pause = one("#pause"), log = one("#log ol");
  const panels = [...document.querySelectorAll("[data-index]")].map((section) => new Panel(section));
  let source;

  function entry(kind, text) {
    const item = document.createElement("li");
    item.className = kind;
    item.textContent = text;
    return item;
  }

  function note(name, text, kind) {
    log.prepend(entry(kind, new Date().toLocaleTimeString() + " " + name + ": " + text));
    if (log.children.length > 50) log.lastChild.remove();
  }

  function connect() {
    say(status, "Connecting");
    source = new EventSource("events");
    source.onopen = () => {
      say(status, "Live");
      // Alerts begin anew with the stream: what it does not know is not over.
      for (const panel of panels) panel.alerts = [];
    };
    source.onmessage = ({ data }) => {
      const sample = JSON.parse(data);
      panels[sample.index]?.add(sample);
    };
    const over = (event, text) => source.addEventListener(event, () => {
      source.close();
      pause.disabled = true;
      say(status, text);
    });
    over("end", "All queues have ended");
    over("replaced", "Too many pages are open: reload to see more");
    source.onerror = () => say(status, source.readyState === 2
      ? "The server refuses: reload the page" : "Connection lost, trying again");
  }

  pause.addEventListener("click", () => {
    const paused = source.readyState !== 2;
    pause.setAttribute("aria-pressed", paused);
    if (!paused) return connect();
    source.close();
    say(status, "Paused");
  });
  pause.hidden = false;
  connect();
}`;
