// Shows the cutouts of the alert that is chosen in the list or on the light curve, in the stretch and colours chosen.
"use strict";
(() => {
  const box = document.getElementById("cutouts"), epoch = document.getElementById("epoch");
  if (!box) return;
  const looks = ["stretch", "colormap"].map((id) => document.getElementById(id));
  function show() {
    const asked = { alert_id: epoch.value, survey: box.dataset.survey };
    for (const img of box.querySelectorAll("img")) {
      const look = Object.fromEntries(looks.map((one) => [one.id, one.value]));
      img.src = `/api/v1/cutouts?${new URLSearchParams({ ...asked, kind: img.dataset.kind, ...look })}`;
    }
    for (const a of box.querySelectorAll("a")) a.href = `/api/v1/cutouts?${new URLSearchParams({ ...asked, kind: a.dataset.kind, format: "FITS" })}`;
    document.dispatchEvent(new CustomEvent("epoch", { detail: Number(epoch.selectedOptions[0].dataset.mjd) }));
  }
  for (const img of box.querySelectorAll("img")) {
    img.addEventListener("error", () => img.classList.add("absent"));
    img.addEventListener("load", () => img.classList.remove("absent"));
    if (img.complete && !img.naturalWidth) img.classList.add("absent");
  }
  for (const one of [epoch, ...looks]) one.addEventListener("change", show);
  document.addEventListener("point", (event) => {
    const near = [...epoch.options].find((option) => Math.abs(Number(option.dataset.mjd) - event.detail) < 2e-5);
    if (near) { epoch.value = near.value; show(); }
  });
})();
