// Sends the forms of the API page: arguments in the path are filled in, empty ones left out.
"use strict";
for (const form of document.querySelectorAll("form.call")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const query = new URLSearchParams();
    let path = form.getAttribute("action");
    for (const input of form.querySelectorAll("input")) {
      const value = input.value.trim();
      if (input.dataset.in === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(value));
      else if (value) query.set(input.name, value);
    }
    window.open(query.size ? `${path}?${query}` : path, "_blank", "noopener");
  });
}
