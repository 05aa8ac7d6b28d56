// Draws the light curve of an object as SVG: error bars, forced photometry, upper limits, one colour a band; drag to zoom.
"use strict";
(() => {
  const box = document.getElementById("lightcurve");
  const curve = JSON.parse(document.getElementById("curve").textContent);
  const colours = { u: "#8e44ad", g: "#2c8a4b", r: "#d0342c", i: "#b8860b", z: "#7f5539", y: "#6b7280" };
  const W = 760, H = 380, L = 64, R = 14, T = 12, B = 44;
  const svgNS = "http://www.w3.org/2000/svg";
  const hidden = new Set();
  let mode = "mag", view = null;
  const make = (name, attributes, parent, text) => {
    const node = document.createElementNS(svgNS, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.appendChild(node);
    return node;
  };
  const points = () => (curve.mjd || []).map((mjd, k) => ({
    mjd, band: curve.band[k], kind: curve.kind[k], limit: curve.limit_mag[k],
    y: mode === "mag" ? curve.mag[k] : curve.flux[k], e: mode === "mag" ? curve.mag_err[k] : curve.flux_err[k],
  })).map((p) => (p.kind === "limit" && mode === "mag" ? { ...p, y: p.limit, e: 0 } : p))
    .filter((p) => Number.isFinite(p.y) && p.y !== null && !hidden.has(p.band) && !(p.kind === "forced" && mode === "mag" && (!p.e || p.e > 0.4)));
  const ticks = (low, high, n) => {
    const span = high - low || 1, raw = span / n, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
    const out = [];
    for (let v = Math.ceil(low / step) * step; v <= high + 1e-9; v += step) out.push([v, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))]);
    return out;
  };
  function draw() {
    const shown = points(), svg = document.createElementNS(svgNS, "svg");
    svg.setAttribute("viewBox", `0 0 ${W} ${H}`); svg.setAttribute("role", "img"); svg.setAttribute("aria-label", "light curve");
    box.replaceChildren(svg);
    if (!shown.length) { make("text", { x: W / 2, y: H / 2, "text-anchor": "middle" }, svg, "no photometry in this view"); return legend(); }
    const inView = shown.filter((p) => !view || (p.mjd >= view[0] && p.mjd <= view[1])), scaled = inView.length ? inView : shown;
    let [x0, x1] = view || [Math.min(...shown.map((p) => p.mjd)), Math.max(...shown.map((p) => p.mjd))];
    if (!view) { const pad = (x1 - x0) * 0.04 || 0.5; x0 -= pad; x1 += pad; }
    let y0 = Math.min(...scaled.map((p) => p.y - (p.e || 0))), y1 = Math.max(...scaled.map((p) => p.y + (p.e || 0)));
    const pad = (y1 - y0) * 0.06 || 0.2; y0 -= pad; y1 += pad;
    const X = (v) => L + (v - x0) / (x1 - x0) * (W - L - R);
    const Y = (v) => mode === "mag" ? T + (v - y0) / (y1 - y0) * (H - T - B) : H - B - (v - y0) / (y1 - y0) * (H - T - B);
    for (const [v, digits] of ticks(x0, x1, 7)) {
      make("line", { x1: X(v), x2: X(v), y1: T, y2: H - B, class: "axis" }, svg);
      make("text", { x: X(v), y: H - B + 17, "text-anchor": "middle" }, svg, v.toFixed(digits));
    }
    for (const [v, digits] of ticks(y0, y1, 6)) {
      make("line", { x1: L, x2: W - R, y1: Y(v), y2: Y(v), class: "axis" }, svg);
      make("text", { x: L - 7, y: Y(v) + 4, "text-anchor": "end" }, svg, Math.abs(v) >= 1e5 ? v.toExponential(1) : v.toFixed(digits));
    }
    make("text", { x: (L + W - R) / 2, y: H - 6, "text-anchor": "middle" }, svg, "MJD [d, TAI]");
    make("text", { x: 14, y: (T + H - B) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(T + H - B) / 2})` }, svg, mode === "mag" ? "difference magnitude [AB]" : "difference flux [nJy]");
    const inside = make("clipPath", { id: "inside" }, svg); make("rect", { x: L, y: T, width: W - L - R, height: H - T - B }, inside);
    const layer = make("g", { "clip-path": "url(#inside)" }, svg), now = Number(box.dataset.now);
    make("line", { x1: X(now), x2: X(now), y1: T, y2: H - B, stroke: "currentColor", "stroke-dasharray": "3 4", opacity: 0.35 }, layer);
    for (const p of shown) {
      const colour = colours[p.band] || "#888", x = X(p.mjd), y = Y(p.y);
      if (p.kind === "limit") { make("path", { d: `M${x - 4} ${y - 3}h8l-4 7z`, fill: "none", stroke: colour, opacity: 0.55 }, layer); continue; }
      if (p.e) make("line", { x1: x, x2: x, y1: Y(p.y - p.e), y2: Y(p.y + p.e), stroke: colour, opacity: p.kind === "forced" ? 0.4 : 0.8 }, layer);
      const dot = make("circle", { cx: x, cy: y, r: p.kind === "forced" ? 2.6 : 3.6, fill: p.kind === "forced" ? "none" : colour, stroke: colour, opacity: p.kind === "forced" ? 0.6 : 1 }, layer);
      make("title", {}, dot, `${p.kind} ${p.band}\nMJD ${p.mjd.toFixed(5)}\n${mode === "mag" ? p.y.toFixed(3) + " ± " + (p.e || 0).toFixed(3) + " mag" : p.y.toFixed(0) + " ± " + (p.e || 0).toFixed(0) + " nJy"}`);
    }
    let start = null, shade = null;
    const at = (event) => { const r = svg.getBoundingClientRect(); return x0 + ((event.clientX - r.left) / r.width * W - L) / (W - L - R) * (x1 - x0); };
    svg.addEventListener("pointerdown", (event) => { start = at(event); shade = make("rect", { class: "zoom", y: T, height: H - T - B }, svg); });
    svg.addEventListener("pointermove", (event) => { if (start !== null) { const a = X(Math.min(start, at(event))), b = X(Math.max(start, at(event))); shade.setAttribute("x", a); shade.setAttribute("width", b - a); } });
    svg.addEventListener("pointerup", (event) => { const end = at(event), low = Math.min(start, end), high = Math.max(start, end); start = null; if (high - low > (x1 - x0) * 0.02) view = [low, high]; draw(); });
    svg.addEventListener("dblclick", () => { view = null; draw(); });
    legend();
  }
  function legend() {
    const bands = [...new Set(curve.band || [])].filter(Boolean).sort((a, b) => "ugrizy".indexOf(a) - "ugrizy".indexOf(b));
    const line = document.createElement("div"); line.className = "legend";
    for (const band of bands) {
      const label = document.createElement("label"), tick = document.createElement("input");
      tick.type = "checkbox"; tick.checked = !hidden.has(band);
      tick.addEventListener("change", () => { tick.checked ? hidden.delete(band) : hidden.add(band); draw(); });
      label.append(tick, ` ${band}`); label.style.color = colours[band] || "inherit"; line.append(label);
    }
    box.append(line);
  }
  for (const [id, name] of [["show-mag", "mag"], ["show-flux", "flux"]]) {
    document.getElementById(id).addEventListener("click", (event) => {
      mode = name; event.target.parentNode.querySelectorAll("button").forEach((b) => b.classList.toggle("on", b === event.target)); draw();
    });
  }
  const mags = (curve.mag || []).filter((v, k) => curve.kind[k] === "detection" && Number.isFinite(v));
  if (mags.length === 0 || (curve.flux || []).some((v, k) => curve.kind[k] === "detection" && v < 0)) document.getElementById("show-flux").click(); else draw();
  const epoch = document.getElementById("epoch");
  if (epoch) epoch.addEventListener("change", () => {
    const survey = document.querySelector(".cutouts").dataset.survey, address = `/api/v1/cutouts?alert_id=${encodeURIComponent(epoch.value)}&survey=${survey}&kind=`;
    document.querySelectorAll(".cutouts img").forEach((img) => { img.src = address + img.dataset.kind + "&scale=3"; });
    document.querySelectorAll(".cutouts a").forEach((a) => { a.href = address + a.dataset.kind + "&format=FITS"; });
  });
})();
