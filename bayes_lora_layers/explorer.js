// The layer explorer: ticks, numbers and diagram of the page, from the data that explorer.py packs into it.
function explore(root, data) {
  // What the page was given.
  const named = name => root.querySelector(`[data-part="${name}"]`);
  const inflate = async text =>
    new Uint8Array(
      await new Response(
        new Blob([Uint8Array.from(atob(text), c => c.charCodeAt(0))])
          .stream()
          .pipeThrough(new DecompressionStream("deflate")),
      ).arrayBuffer(),
    );
  const bins = data.bins,
    metrics = ["ece", "nll", "brier", "accuracy"],
    titles = {ece: "ECE", nll: "NLL (nats)", brier: "Brier", accuracy: "accuracy"};

  async function unpack(pack, g) {
    const m = pack.keys ? pack.keys.length : 2 ** data.layers.length,
      raw = await inflate(pack.sums[g]);
    let at = 0;
    const take = (size, length) => {
      const out = new Uint32Array(length);
      for (let b = 0; b < size; b++, at += length) for (let i = 0; i < length; i++) out[i] |= raw[at + i] << (8 * b);
      return out;
    };
    const count = take(3, bins * m),
      wrong = take(3, bins * m),
      place = take(2, bins * m);
    const nll = new Float32Array(take(4, m).buffer),
      brier = new Float32Array(take(4, m).buffer);
    const ends = g === 0 && pack.ends ? new Float32Array((await inflate(pack.ends)).buffer) : null;
    return {m, count, wrong, place, nll, brier, ends, keys: pack.keys && new Map(pack.keys.map((k, i) => [k, i]))};
  }

  const cache = new Map();
  function sumsOf(pack, g) {
    const key = data.packed.indexOf(pack) + " " + g;
    if (!cache.has(key)) cache.set(key, unpack(pack, g));
    return cache.get(key);
  }

  // Metrics of a set from its sums.
  const keyOf = set => [...set].sort((a, b) => a - b).join(",");
  function indexOf(sums, set) {
    // -1 when the set was not computed
    if (sums.keys) return sums.keys.get(keyOf(set)) ?? -1;
    return [...set].reduce((mask, i) => mask + 2 ** i, 0);
  }

  function curveOf(sums, i) {
    return Array.from({length: bins}, (_, b) => {
      const n = sums.count[b * sums.m + i],
        confidence = (b + sums.place[b * sums.m + i] / data.places) / bins;
      return {n, confidence, accuracy: n ? 1 - sums.wrong[b * sums.m + i] / n : 0};
    });
  }

  function metricsOf(sums, i) {
    const curve = curveOf(sums, i),
      {n} = packOf();
    return {
      ece: curve.reduce((s, b) => s + Math.abs(b.n * (b.confidence - b.accuracy)), 0) / n,
      accuracy: curve.reduce((s, b) => s + b.n * b.accuracy, 0) / n,
      nll: sums.nll[i] / n,
      brier: sums.brier[i] / n,
    };
  }

  const gainOf = (values, metric) => {
    const {map} = packOf();
    return metric === "accuracy" ? values[metric] - map[metric] : map[metric] - values[metric];
  };

  // with an interval its estimate, which is free of the bias of binning
  const gainShown = (values, ends, metric) => (ends ? (ends[0] + ends[1]) / 2 : gainOf(values, metric));

  function intervalOf(pack, sums, set, i, metric) {
    // under the run's own prior; null elsewhere
    if (state.prior !== 0 || set.size === 0) return null;
    const known = pack.intervals[keyOf(set)];
    if (known) return known[metric];
    if (!sums.ends) return null;
    const k = metrics.indexOf(metric);
    return [sums.ends[2 * k * sums.m + i], sums.ends[(2 * k + 1) * sums.m + i]];
  }

  // Controls, numbers and bars.
  const state = {
    set: new Set(),
    run: data.packed[0].run,
    split: data.packed[0].split,
    predictive: data.packed[0].predictive,
    prior: 0,
    metric: data.metric,
  };
  const packsOf = () => data.packed.filter(p => p.run === state.run && p.split === state.split);
  const packOf = () => packsOf().find(p => p.predictive === state.predictive);
  const signed = (v, k = 4) => (+v.toFixed(k) < 0 ? "\u2212" : "+") + Math.abs(v).toFixed(k),
    short = v => +v.toPrecision(3) + "";
  const layerName = l => (l === "head" ? "the head" : "layer " + l);
  const names = set => {
    const l = [...set].sort((a, b) => a - b).map(i => data.layers[i]);
    return l.length === 0
      ? "No layer"
      : l.length === data.layers.length
        ? "All layers"
        : l.length === 1
          ? (l[0] === "head" ? "The head" : "Layer " + l[0])
          : "Layers " + l.slice(0, -1).join(", ") + " and " + (l.at(-1) === "head" ? "the head" : l.at(-1));
  };

  function fill(part, choices, current, pick) {
    // radio buttons
    const box = named(part);
    box.hidden = choices.length < 2; // nothing to choose
    box.querySelectorAll("label").forEach(l => l.remove());
    for (const [value, text] of choices) {
      const label = document.createElement("label"),
        input = document.createElement("input");
      Object.assign(input, {type: "radio", name: root.id + part, value, checked: value === current});
      input.addEventListener("change", () => {
        pick(value);
        controls();
        draw();
      });
      label.append(input, text);
      box.append(label);
    }
  }

  function controls() {
    fill(
      "runs",
      [...new Set(data.packed.map(p => p.run))].map(r => [r, r]),
      state.run,
      r => {
        state.run = r;
        state.prior = 0;
        if (!packsOf().length) state.split = data.packed[0].split;
        if (!packOf()) state.predictive = packsOf()[0].predictive;
      },
    );
    fill(
      "splits",
      [...new Set(data.packed.filter(p => p.run === state.run).map(p => p.split))].map(s => [s, s]),
      state.split,
      s => {
        state.split = s;
        state.prior = 0;
      },
    );
    fill(
      "predictives",
      packsOf().map(p => [p.predictive, p.predictive]),
      state.predictive,
      p => {
        state.predictive = p;
        state.prior = 0;
      },
    );
    const priors = packOf().priors,
      of = wanted => priors.map((_, i) => i).filter(i => (priors[i].value !== null) === wanted);
    const common = of(true).sort((a, b) => priors[a].value - priors[b].value),
      each = of(false),
      slider = named("slider");
    fill(
      "rules",
      [...(common.length ? [["common", "one for all layers"]] : []), ...each.map(i => [String(i), priors[i].name])],
      common.includes(state.prior) ? "common" : String(state.prior),
      v => {
        state.prior = v === "common" ? Math.min(...common) : +v;
      },
    );
    named("slide").hidden = !common.includes(state.prior);
    Object.assign(slider, {
      max: common.length - 1,
      value: common.indexOf(state.prior),
      disabled: common.length < 2,
      oninput: () => {
        state.prior = common[slider.value];
        draw();
      },
    });
  }

  function toggles() {
    named("layers").replaceChildren(
      ...data.layers.map((l, i) => {
        const li = document.createElement("li");
        const box = `<label><input type="checkbox" value="${i}"></label>`;
        li.innerHTML = `${box}<div class="bll-track"><span></span></div><div class="bll-number"></div>`;
        li.querySelector("label").append(" " + layerName(l));
        li.querySelector("input").addEventListener("change", e => {
          e.target.checked ? state.set.add(i) : state.set.delete(i);
          draw();
        });
        return li;
      }),
    );
  }

  function presets(pack) {
    const all = data.layers.map((_, i) => i),
      choices = {none: [], all, ...(pack.recommended ? {recommended: pack.recommended} : {}), ...data.groups};
    named("sets").replaceChildren(
      ...Object.entries(choices).map(([name, set]) => {
        const b = document.createElement("button");
        Object.assign(b, {
          type: "button",
          textContent: name,
          onclick: () => {
            state.set = new Set(set);
            if (name === "recommended") state.prior = pack.recommended_prior;
            controls();
            draw();
          },
        });
        return b;
      }),
    );
  }

  function bars(sums, pack) {
    const here = indexOf(sums, state.set),
      gain = i => gainOf(metricsOf(sums, i), state.metric);
    const change = data.layers.map((_, i) => {
      const other = new Set(state.set);
      other.has(i) ? other.delete(i) : other.add(i);
      const there = indexOf(sums, other);
      return here < 0 || there < 0 ? null : gain(there) - gain(here);
    });
    const most = Math.max(1e-12, ...change.map(v => Math.abs(v ?? 0)));
    [...named("layers").children].forEach((li, i) => {
      const v = change[i],
        span = li.querySelector("span");
      li.querySelector("input").checked = state.set.has(i);
      Object.assign(span.style, {
        left: (v < 0 ? 50 + (50 * v) / most : 50) + "%",
        width: (50 * Math.abs(v ?? 0)) / most + "%",
        visibility: v ? "visible" : "hidden",
      });
      span.classList.toggle("bll-worse", v < 0);
      li.querySelector(".bll-number").textContent = v === null ? "" : signed(v);
    });
    named("hint").textContent =
      pack.keys && change.every(v => v === null)
        ? ""
        : `What ticking or unticking one more layer would change in ${titles[state.metric]}; right is better.`;
  }

  function table(pack, sums, i) {
    const now = i < 0 ? null : metricsOf(sums, i);
    const row = m => {
      const end = now && intervalOf(pack, sums, state.set, i, m),
        shown = now && gainShown(now, end, m);
      const ends = end ? ` [${signed(end[0])}, ${signed(end[1])}]` : "";
      return [
        `<tr><th scope="row">${titles[m]}</th>`,
        `<td>${pack.map[m].toFixed(4)}</td><td>${pack.temperature[m].toFixed(4)}</td>`,
        `<td data-metric="${m}" data-value="${now ? now[m] : ""}">${now ? now[m].toFixed(4) : "\u2013"}</td>`,
        `<td data-gain="${m}" data-value="${now ? shown : ""}">${now ? signed(shown) : ""}${ends}</td></tr>`,
      ].join("");
    };
    named("table").innerHTML =
      `<thead><tr><td></td><th>MAP</th><th title="temperature scaling">temp.</th><th>this set</th>` +
      `<th title="of calibration errors without the bias of binning, so not quite the difference of the two numbers">` +
      `better by [95%]</th></tr></thead><tbody>${metrics.map(row).join("")}</tbody>`;
  }

  function said(pack, sums, i) {
    const who = names(state.set),
      parameter = pack.priors[state.prior],
      prior =
        parameter.value !== null
          ? `prior precision ${short(parameter.value)}${parameter.name ? " (" + parameter.name + ")" : ""}`
          : `prior precision by ${parameter.name}`;
    named("value").textContent =
      parameter.value !== null ? `${short(parameter.value)}${parameter.name ? " (" + parameter.name + ")" : ""}` : "";
    if (i < 0) {
      const run = `the MAP, single layers, the groups, all layers${pack.recommended ? " and the recommended set" : ""}`;
      const where = state.split === "test" ? "" : ` on ${state.split}`;
      return `${who} together: not computed for the ${state.predictive} predictive${where}, which was run for ${run}.`;
    }
    if (!state.set.size) return `${who} Bayesian: this is the MAP. Tick layers to see what they change.`;
    const values = metricsOf(sums, i),
      gain = gainOf(values, state.metric),
      told = gainShown(values, intervalOf(pack, sums, state.set, i, state.metric), state.metric),
      word = titles[state.metric].replace(" (nats)", "");
    const change = `${told < 0 ? "worse" : "better"} by ${Math.abs(told).toFixed(4)}`;
    const where = state.split === "test" ? "" : `, on ${state.split}`;
    let text = `${who} Bayesian, ${state.predictive}, ${prior}${where}: ${word} is ${change} than at the MAP.`;
    if (!sums.keys && state.set.size < data.layers.length) {
      let same = 0,
        below = 0;
      for (let m = 0; m < sums.m; m++) {
        let size = 0;
        for (let b = m; b; b &= b - 1) size++;
        if (size === state.set.size && m !== i) {
          same++;
          if (gainOf(metricsOf(sums, m), state.metric) < gain) below++;
        }
      }
      const others = `${same.toLocaleString("en")} sets of ${state.set.size} layer${state.set.size > 1 ? "s" : ""}`;
      text += ` That is better than ${Math.round((100 * below) / same)}% of the other ${others}.`;
    }
    if (state.prior !== 0 && state.set.size) text += " Intervals are known under this run's own prior only.";
    return text + (pack.left_out ? ` ${pack.left_out} more prior precisions are in the result files.` : "");
  }

  // The reliability diagram.
  function diagram(sums, i) {
    const X = v => 42 + 286 * v,
      Y = v => 222 - 208 * v,
      parts = [],
      {n: examples} = packOf(),
      most = Math.log10(1 + examples),
      H = n => (52 * Math.log10(1 + n)) / most;
    const text = (x, y, t, more = "") => parts.push(`<text x="${x}" y="${y}" ${more}>${t}</text>`),
      line = (x1, y1, x2, y2, more) =>
        parts.push(`<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="currentColor" ${more}/>`);
    for (const v of [0, 0.25, 0.5, 0.75, 1]) {
      line(X(0), Y(v), X(1), Y(v), 'opacity=".15"');
      text(X(0) - 6, Y(v) + 4, v, 'text-anchor="end"');
      text(X(v), 310, v, 'text-anchor="middle"');
    }
    if (i >= 0) {
      const curve = curveOf(sums, i),
        seen = curve.filter(b => b.n);
      curve.forEach((b, k) => {
        if (!b.n) return;
        parts.push(
          `<rect x="${X(k / bins) + 1}" width="${286 / bins - 2}" y="${Y(b.accuracy)}" ` +
            `height="${Y(0) - Y(b.accuracy)}" fill="var(--layer)" opacity=".8"/>`,
        );
        parts.push(
          `<rect x="${X(k / bins) + 1}" width="${286 / bins - 2}" y="${296 - H(b.n)}" height="${H(b.n)}" ` +
            `fill="currentColor" opacity=".5"><title>${b.n} example${b.n === 1 ? "" : "s"}</title></rect>`,
        );
      });
      const spread = b => 1.96 * Math.sqrt((b.confidence * (1 - b.confidence)) / b.n),
        clip = v => Math.min(1, Math.max(0, v));
      const upper = seen.map(b => [b.confidence, clip(b.confidence + spread(b))]),
        lower = seen.map(b => [b.confidence, clip(b.confidence - spread(b))]);
      parts.push(
        `<polygon points="${[...upper, ...lower.reverse()].map(p => X(p[0]) + "," + Y(p[1])).join(" ")}" ` +
          `fill="currentColor" opacity=".22"/>`,
      );
    }
    line(X(0), Y(0), X(1), Y(1), 'opacity=".7"');
    const atMap = curveOf(sums, indexOf(sums, new Set()));
    atMap.forEach(b => {
      if (b.n)
        parts.push(
          `<circle cx="${X(b.confidence)}" cy="${Y(b.accuracy)}" r="3.4" fill="none" ` +
            `stroke="currentColor" stroke-width="1.4"/>`,
        );
    });
    line(X(0), 296, X(1), 296, 'opacity=".4"');
    text(X(0.5), 326, "confidence", 'text-anchor="middle"');
    text(12, Y(0.5), "accuracy", `text-anchor="middle" transform="rotate(-90 12 ${Y(0.5)})"`);
    text(12, 270, "examples", 'text-anchor="middle" transform="rotate(-90 12 270)"');
    text(X(0) - 6, 296 - H(examples) + 4, examples.toLocaleString("en"), 'text-anchor="end"');
    named("diagram").innerHTML = parts.join("");
  }

  let turn = 0;
  async function draw() {
    const mine = ++turn,
      pack = packOf(),
      sums = await sumsOf(pack, state.prior);
    if (mine !== turn) return; // something else was chosen meanwhile
    const i = indexOf(sums, state.set);
    presets(pack);
    bars(sums, pack);
    table(pack, sums, i);
    diagram(sums, i);
    named("said").textContent = said(pack, sums, i);
    const {run, split, predictive, prior, metric} = state;
    root.dataset.shown = [run, split, predictive, prior, metric, keyOf(state.set)].join("|");
  }

  named("metric").value = state.metric;
  named("metric").addEventListener("change", e => {
    state.metric = e.target.value;
    draw();
  });
  state.set = new Set(packOf().recommended ?? [0]);
  state.prior = packOf().recommended_prior ?? 0;
  toggles();
  controls();
  draw().catch(() => {
    named("said").textContent =
      "This browser cannot show the explorer; it lacks DecompressionStream. " +
      "Firefox 113, Chrome 80 or Safari 16.4 and newer have it.";
  });
}
