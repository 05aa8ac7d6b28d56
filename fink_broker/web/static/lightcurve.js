// Draws the light curve of an object as SVG: error bars, forced photometry, upper limits; a colour and a shape for each band; drag to zoom.
"use strict";
(() => {
  const box = document.getElementById("lightcurve"), readout = document.getElementById("readout"), whole = document.getElementById("whole");
  const curve = JSON.parse(document.getElementById("curve").textContent);
  const BANDS = "ugrizyY", H = 420, L = 66, R = 12, T = 34, B = 40, ZERO = 31.4; // magnitude of 1 nJy
  const hidden = new Set();
  let mode = "mag", view = null, chosen = null, W = 800;

  const make = (name, attributes, parent, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    parent.appendChild(node);
    return node;
  };
  const good = (v) => typeof v === "number" && Number.isFinite(v);
  const style = (band) => `band band-${band || "none"}`;
  const polygon = (x, y, size, corners, turn) =>
    `M${Array.from({ length: corners }, (_, k) => [x + size * Math.sin((2 * Math.PI * k) / corners + turn), y - size * Math.cos((2 * Math.PI * k) / corners + turn)].map((v) => v.toFixed(1)).join(" ")).join("L")}Z`;
  function shape(band, x, y, size) {
    const [corners, turn, factor] = { u: [3, 0, 1.3], r: [4, Math.PI / 4, 1.2], i: [4, 0, 1.25], z: [5, 0, 1.15], y: [6, 0, 1.1], Y: [6, 0, 1.1] }[band] || [24, 0, 1];
    return polygon(x, y, size * factor, corners, turn);
  }
  const limitShape = (x, y) => polygon(x, y, 4.5, 3, Math.PI);

  const all = (curve.mjd || []).map((mjd, k) => ({
    mjd, band: curve.band[k], kind: curve.kind[k], mag: curve.mag[k], magErr: curve.mag_err[k], flux: curve.flux[k], fluxErr: curve.flux_err[k], limit: curve.limit_mag[k],
  }));
  function value(p) { // height, error and whether the point can be shown, in the mode of now
    if (p.kind === "limit") return good(p.limit) ? [mode === "mag" ? p.limit : 10 ** ((ZERO - p.limit) / 2.5), 0] : null;
    const [y, e] = mode === "mag" ? [p.mag, p.magErr] : [p.flux, p.fluxErr];
    if (!good(y) || (mode === "mag" && p.kind === "forced" && !(good(p.fluxErr) && p.flux > 3 * p.fluxErr))) return null;
    return [y, good(e) ? e : 0];
  }
  const spread = (values, share, least) => {
    const low = Math.min(...values), high = Math.max(...values), pad = Math.max((high - low) * share, (least - high + low) / 2);
    return [low - pad, high + pad];
  };
  function heights(points) { // detections, and as much more as they span: a few poor points must not flatten them
    const reach = (some) => spread(some.flatMap((p) => { const e = mode === "mag" ? Math.min(p.e, 0.5) : p.e; return [p.y - e, p.y + e]; }), 0.06, mode === "mag" ? 0.3 : 1);
    const every = reach(points), found = points.filter((p) => p.kind === "detection");
    if (found.length < 3) return every;
    const [low, high] = reach(found), more = high - low;
    return [Math.max(every[0], low - more), Math.min(every[1], high + more)];
  }
  function ticks(low, high, number) {
    const raw = (high - low) / number, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999), digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    return Array.from({ length: Math.floor(high / step + 1e-9) - Math.ceil(low / step - 1e-9) + 1 }, (_, k) => [(Math.ceil(low / step - 1e-9) + k) * step, digits]);
  }
  const date = (mjd, fine) => new Date((mjd - 40587) * 86400000 - 37000).toISOString().slice(...(fine ? [5, 16] : [0, 10])).replace("T", " ");

  function draw() {
    whole.hidden = !view;
    W = Math.max(box.clientWidth, 340);
    box.replaceChildren();
    const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `light curve, ${mode === "mag" ? "magnitude" : "flux"}` }, box);
    const shown = all.filter((p) => !hidden.has(p.band)).map((p) => [p, value(p)]).filter(([, v]) => v).map(([p, [y, e]]) => ({ ...p, y, e }));
    if (!shown.length) { make("text", { x: W / 2, y: H / 2, "text-anchor": "middle" }, svg, "no photometry in this view"); return; }
    const [x0, x1] = view || spread(shown.map((p) => p.mjd), 0.04, 1);
    const within = shown.filter((p) => p.mjd >= x0 && p.mjd <= x1), sure = within.filter((p) => p.kind !== "limit" || mode === "mag");
    const [y0, y1] = heights(sure.length ? sure : within.length ? within : shown), beyond = within.filter((p) => p.y < y0 || p.y > y1).length;
    const X = (v) => L + ((v - x0) / (x1 - x0)) * (W - L - R);
    const Y = (v) => (mode === "mag" ? T + ((v - y0) / (y1 - y0)) * (H - T - B) : H - B - ((v - y0) / (y1 - y0)) * (H - T - B));
    const [unit, per] = mode === "mag" ? ["AB", 1] : [["nJy", 1], ["µJy", 1e3], ["mJy", 1e6], ["Jy", 1e9]].findLast(([, per], k) => !k || Math.max(Math.abs(y0), Math.abs(y1)) >= 10 * per);
    const fine = x1 - x0 < 4;
    for (const [v, digits] of ticks(x0, x1, W / 125)) {
      make("line", { x1: X(v), x2: X(v), y1: T, y2: H - B, class: "axis" }, svg);
      make("text", { x: X(v), y: H - B + 18, "text-anchor": "middle" }, svg, v.toFixed(digits));
      make("text", { x: X(v), y: T - 8, "text-anchor": "middle", class: "faint" }, svg, date(v, fine));
    }
    for (const [v, digits] of ticks(y0 / per, y1 / per, 6)) {
      make("line", { x1: L, x2: W - R, y1: Y(v * per), y2: Y(v * per), class: v === 0 && mode === "flux" ? "axis zero" : "axis" }, svg);
      make("text", { x: L - 7, y: Y(v * per) + 4, "text-anchor": "end" }, svg, v.toFixed(digits));
    }
    make("text", { x: (L + W - R) / 2, y: H - 4, "text-anchor": "middle" }, svg, "MJD [d, TAI]; above, UTC");
    make("text", { x: 0, y: 0, "text-anchor": "middle", transform: `translate(15 ${(T + H - B) / 2}) rotate(-90)` }, svg, `difference ${mode === "mag" ? "magnitude" : "flux"} [${unit}]`);
    make("rect", { x: L, y: T, width: W - L - R, height: H - T - B }, make("clipPath", { id: "inside" }, svg));
    const layer = make("g", { "clip-path": "url(#inside)" }, svg);
    if (beyond) make("text", { x: W - R - 4, y: H - B - 6, "text-anchor": "end", class: "faint" }, svg, `${beyond} point${beyond > 1 ? "s lie" : " lies"} beyond this range`);
    if (chosen !== null) make("line", { x1: X(chosen), x2: X(chosen), y1: T, y2: H - B, class: "chosen" }, layer);
    for (const kind of ["limit", "forced", "detection"]) for (const p of shown.filter((one) => one.kind === kind)) {
      const x = X(p.mjd), y = Y(p.y), group = make("g", { class: `${style(p.band)} ${kind}`, "data-kind": kind }, layer);
      if (kind === "limit") make("path", { d: limitShape(x, y), class: "open" }, group);
      else {
        if (p.e) make("line", { x1: x, x2: x, y1: Y(p.y - p.e), y2: Y(p.y + p.e), class: "error" }, group);
        make("path", { d: shape(p.band, x, y, kind === "forced" ? 2.5 : all.length > 400 ? 3.4 : 4.3), class: kind === "detection" && mode === "mag" && p.flux < 0 ? "open" : "full" }, group);
      }
      const told = kind === "limit" ? `fainter than ${p.limit.toFixed(2)} mag`
        : mode === "mag" ? `${p.y.toFixed(3)} ± ${p.e.toFixed(3)} mag` : `${p.y.toFixed(0)} ± ${p.e.toFixed(0)} nJy`;
      group.addEventListener("pointerenter", () => { readout.textContent = `${kind === "limit" ? "upper limit" : kind}, ${p.band || "no band"}: ${told} · MJD ${p.mjd.toFixed(5)} · ${date(p.mjd, false)} ${date(p.mjd, true).slice(6)} UTC`; });
      group.addEventListener("click", () => { if (kind === "detection") document.dispatchEvent(new CustomEvent("point", { detail: p.mjd })); });
    }
    zoom(svg, x0, x1, X);
  }
  function zoom(svg, x0, x1, X) {
    let start = null, shade = null;
    const at = (event) => { const r = svg.getBoundingClientRect(); return x0 + ((((event.clientX - r.left) / r.width) * W - L) / (W - L - R)) * (x1 - x0); };
    svg.addEventListener("pointerdown", (event) => { start = at(event); });
    svg.addEventListener("pointermove", (event) => {
      if (start === null || Math.abs(X(at(event)) - X(start)) < 6) return;
      shade = shade || make("rect", { class: "zoom", y: T, height: H - T - B }, svg);
      const [a, b] = [start, at(event)].sort((m, n) => m - n).map(X);
      shade.setAttribute("x", a); shade.setAttribute("width", b - a);
    });
    svg.addEventListener("pointerup", (event) => {
      if (shade) { view = [start, at(event)].sort((m, n) => m - n); draw(); }
      start = shade = null;
    });
    svg.addEventListener("dblclick", () => { view = null; draw(); });
  }
  function legend() {
    const line = document.getElementById("legend"), rank = (band) => (BANDS.indexOf(band) + 99) % 99;
    for (const band of [...new Set(curve.band || [])].sort((a, b) => rank(a) - rank(b))) {
      const label = document.createElement("label"), tick = document.createElement("input"), number = all.filter((p) => p.band === band && p.kind === "detection").length;
      tick.type = "checkbox"; tick.checked = true; tick.dataset.band = band || "";
      tick.addEventListener("change", () => { if (tick.checked) hidden.delete(band); else hidden.add(band); draw(); });
      label.className = style(band);
      label.append(tick);
      make("path", { d: shape(band, 7, 7, 5), class: "full" }, make("svg", { viewBox: "0 0 14 14", width: 14, height: 14 }, label));
      label.append(` ${band || "no band"} (${number})`);
      line.append(label);
    }
  }
  const buttons = { mag: document.getElementById("show-mag"), flux: document.getElementById("show-flux") };
  function turn(name) { mode = name; for (const key in buttons) buttons[key].classList.toggle("on", key === name); draw(); }
  for (const name in buttons) buttons[name].addEventListener("click", () => turn(name));
  whole.addEventListener("click", () => { view = null; draw(); });
  document.addEventListener("epoch", (event) => { chosen = event.detail; draw(); });
  new ResizeObserver(() => { if (Math.max(box.clientWidth, 340) !== W) draw(); }).observe(box);
  legend();
  const detections = all.filter((p) => p.kind === "detection");
  turn(!detections.some((p) => good(p.mag)) || detections.some((p) => p.flux < 0) ? "flux" : "mag");
})();
